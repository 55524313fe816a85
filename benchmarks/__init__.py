"""What is measured about stylenet, and what it is measured against. Not part of the installed package."""
