"""The report page: all runs of a project as one HTML file that needs nothing beside it.

Charts are matplotlib's SVG, inlined, in the page's own colours: nothing is fetched, nothing but sorting, filtering and
live updates is JavaScript, and the file prints. `contents` reads, `html` writes, `watching` serves it while runs go on.
"""
