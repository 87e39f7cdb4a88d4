"""What was found, as rows, text, Markdown and JSON."""
