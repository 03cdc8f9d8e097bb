"""The steps a notification goes through, one a file; each asks the domain and acts through the edges."""
