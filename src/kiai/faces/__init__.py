"""The outside interfaces. Each face translates its protocol into domain calls and back, and has no rules of its own."""
