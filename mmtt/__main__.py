"""`python -m mmtt`."""

from mmtt.cli import main

main()
