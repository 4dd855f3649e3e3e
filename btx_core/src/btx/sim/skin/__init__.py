"""What simulators' skins share: sockets, faults on requests and sockets, streams, and the server itself.

Nothing here knows a venue.  What differs is said by the skin: its :class:`~btx.sim.skin.mishaps.Trouble` (how it says
that something failed), its :class:`~btx.sim.skin.connections.Habits` (pings, silence, the age of a socket, how many an
address may open), its streams' names and frames.

``serving``      the server of one world: :class:`Skin` is what a venue has to give
``mishaps``      the world's script of faults, carried out on requests and their answers
``connections``  all sockets: let in, kept alive, struck, flushed, closed
``sockets``      one socket
``streams``      who reads which market stream, and at what pace it speaks
``venue``        the world behind the wire, its keys and its two clocks
``door``         the port, open or refusing
``stage``        what stands behind every request: the world, both clocks
``tables``       tables of trading rules as text
``text``         JSON as venues write it
"""
