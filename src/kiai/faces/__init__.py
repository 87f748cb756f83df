"""What the outside talks to. Each face turns its wire into domain calls and back, and holds no rules."""
