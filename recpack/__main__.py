from recpack.cli import console

console()
