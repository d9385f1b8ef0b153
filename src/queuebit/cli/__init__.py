"""The commands that people type. Each file holds one group of them; `main` puts them together.

Commands that show or change jobs talk to the service over its REST API, as any client does. What
takes long to import is imported by the command that needs it.
"""
