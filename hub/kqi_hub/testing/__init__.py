"""Fakes and starters that tests of this project and of extensions use; they obey the contracts of the real ones."""
