"""``python -m service``: the commands of `service.cli`."""

from service.cli import main

if __name__ == "__main__":
    main()
