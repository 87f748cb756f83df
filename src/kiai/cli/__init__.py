"""`kiai ...`: thin commands over the same verbs that the faces use."""
