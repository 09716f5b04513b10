"""Exact minimisers of group norms: leaps on a working set of groups, and Newton's method on a face.

Where groups have more than one coordinate the dual set is round: the saddle path bends, and is not walked jump by jump.
"""
