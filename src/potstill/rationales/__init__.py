"""Text: ask for rationales, read their answers, check them, keep the good ones."""
