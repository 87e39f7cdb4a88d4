"""The claims about a rule, and what decides whether numbers agree."""
