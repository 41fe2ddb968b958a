"""python -m tests.simulations: what the statistics promise, by many experiments."""

import argparse
import time

from tests.simulations.worlds import WITH_EFFECT, WITHOUT_EFFECT, alarms


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiments", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    started = time.monotonic()
    print("No effect: a day, held back, add   ever shown, which the interval then misses")
    for world in WITHOUT_EFFECT:
        shown = world.shown(given.experiments, given.seed)
        print(f"{named(world)}   {shown:10.2%}")
    print("An effect: a day, held back, add   ever shown   in theory   ever missed")
    for world in WITH_EFFECT:
        shown = world.shown(given.experiments, given.seed)
        missed = world.missed(given.experiments, given.seed)
        effect = f"{100 * world.effect:+.2f} points"
        print(f"{named(world)}   {shown:10.2%}   {world.power():9.2%}   {missed:11.2%}   {effect}")
    print("Alarms of the arms' sizes, of 200,000 sound experiments")
    for share in (0.01, 0.1, 0.5):
        rate = alarms(200_000, given.seed, visitors=20_000, share=share)
        print(f"{share:27.0%}   {rate:10.3%}")
    print(f"{time.monotonic() - started:.0f} s")


def named(world):
    return f"{world.daily:16,}{world.share:11.0%}{world.rate:8.1%}"


main()
