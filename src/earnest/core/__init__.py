"""The words that everyone in the house speaks; imports no other folder of it."""
