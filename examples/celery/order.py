"""Send tasks: the call returns when questd has the message."""

from app import bake

for pizza in ("margherita", "funghi", "quattro stagioni"):
    bake.delay(pizza)
    print("ordered", pizza)
