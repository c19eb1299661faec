"""What is read from files and written to them. No torch in this room."""
