import sys

from recpack.cli import main

sys.exit(main())
