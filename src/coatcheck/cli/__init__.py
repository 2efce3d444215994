"""The command line: parse, call, print. Each module holds commands of one kind; `app` puts them together."""
