from recpack.cli.app import console

console()
