"""Names for the columns of the packed arrays that describe panels to kernels.

A frame's pixels are one flat array in their own dtype: the detector's data as they arrived.  A panel is a window
into it, so that no panel is ever copied out:

    value of (fs, ss) on panel p  =  pixels[table[p, OFFSET] + ss * table[p, STRIDE] + fs]

Per-pixel properties that the detector has and the data have not (bad, radial bin, saturation) live in *detector
order*: panel after panel, each row-major without gaps:

    bad of (fs, ss) on panel p    =  bad[table[p, START] + ss * table[p, WIDTH] + fs]
"""

OFFSET, STRIDE, WIDTH, HEIGHT, START = range(5)
N_COLUMNS = 5

CORNER, FS, SS = range(3)
"""Rows of a panel's pose, float64[n_panels, 3, 3]: lab position of the corner, step per pixel in fs and ss [m]."""
