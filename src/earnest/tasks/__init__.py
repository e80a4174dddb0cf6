"""One problem a file: its loss, its validation, its way back to the user's words."""
