"""The demonstration: the whole store at work on real files, with every byte checked.

Producer and consumer processes pass tickets through a Redis list; a consumer is killed half-way and its work taken
over; a run is deleted; everything left expires. `acts` tells the story; children import `workers` and nothing for show.
"""
