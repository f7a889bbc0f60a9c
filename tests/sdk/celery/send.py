"""Send a hundred tasks."""

from app import note

for number in range(100):
    note.delay(number)
