; A detector of 16 panels of 256 x 256 pixels (1M), with gaps and small tilts, for simulated frames.

photon_energy = beam_energy eV
clen = detector_distance mm
peak_list = peak_list
data = detector_data
res = 13333.333
adu_per_photon = 1
max_adu = 100000
flag_lessthan = 0

group_q0 = p0,p1,p4,p5
group_q1 = p2,p3,p6,p7
group_q2 = p8,p9,p12,p13
group_q3 = p10,p11,p14,p15
group_all = q0,q1,q2,q3

p0/min_fs = 0
p0/max_fs = 255
p0/min_ss = 0
p0/max_ss = 255
p0/corner_x = -524.0000
p0/corner_y = -522.7000
p0/fs = +0.999999667x +0.000815596y
p0/ss = -0.000815596x +0.999999667y
p0/coffset = +0.000000

p1/min_fs = 256
p1/max_fs = 511
p1/min_ss = 0
p1/max_ss = 255
p1/corner_x = -258.8778
p1/corner_y = -523.6523
p1/fs = +0.999998366x +0.001807900y
p1/ss = -0.001807900x +0.999998366y
p1/coffset = +0.000078

p2/min_fs = 512
p2/max_fs = 767
p2/min_ss = 0
p2/max_ss = 255
p2/corner_x = +2.8670
p2/corner_y = -525.1140
p2/fs = +0.999999179x -0.001281472y
p2/ss = +0.001281472x +0.999999179y
p2/coffset = +0.000097

p3/min_fs = 768
p3/max_fs = 1023
p3/min_ss = 0
p3/max_ss = 255
p3/corner_x = +268.0219
p3/corner_y = -524.9437
p3/fs = +0.999998908x -0.001477680y
p3/ss = +0.001477680x +0.999998908y
p3/coffset = +0.000043

p4/min_fs = 0
p4/max_fs = 255
p4/min_ss = 256
p4/max_ss = 511
p4/corner_x = -522.8890
p4/corner_y = -259.3909
p4/fs = +0.999998618x +0.001662253y
p4/ss = -0.001662253x +0.999998618y
p4/coffset = -0.000044

p5/min_fs = 256
p5/max_fs = 511
p5/min_ss = 256
p5/max_ss = 511
p5/corner_x = -261.1436
p5/corner_y = -258.7304
p5/fs = +0.999999449x +0.001049335y
p5/ss = -0.001049335x +0.999999449y
p5/coffset = -0.000098

p6/min_fs = 512
p6/max_fs = 767
p6/min_ss = 256
p6/max_ss = 511
p6/corner_x = +4.0437
p6/corner_y = -259.9299
p6/fs = +0.999998132x -0.001932655y
p6/ss = +0.001932655x +0.999998132y
p6/coffset = -0.000077

p7/min_fs = 768
p7/max_fs = 1023
p7/min_ss = 256
p7/max_ss = 511
p7/corner_x = +269.0995
p7/corner_y = -261.2320
p7/fs = +0.999999848x -0.000551311y
p7/ss = +0.000551311x +0.999999848y
p7/coffset = +0.000002

p8/min_fs = 0
p8/max_fs = 255
p8/min_ss = 512
p8/max_ss = 767
p8/corner_x = -525.1538
p8/corner_y = +3.2707
p8/fs = +0.999997848x +0.002074722y
p8/ss = -0.002074722x +0.999997848y
p8/coffset = +0.000079

p9/min_fs = 256
p9/max_fs = 511
p9/min_ss = 512
p9/max_ss = 767
p9/corner_x = -259.9345
p9/corner_y = +4.8419
p9/fs = +1.000000000x +0.000016678y
p9/ss = -0.000016678x +1.000000000y
p9/coffset = +0.000097

p10/min_fs = 512
p10/max_fs = 767
p10/min_ss = 512
p10/max_ss = 767
p10/corner_x = +5.0877
p10/corner_y = +5.1797
p10/fs = +0.999997839x -0.002079019y
p10/ss = +0.002079019x +0.999997839y
p10/coffset = +0.000041

p11/min_fs = 768
p11/max_fs = 1023
p11/min_ss = 512
p11/max_ss = 767
p11/corner_x = +266.8363
p11/corner_y = +3.7893
p11/fs = +0.999999865x +0.000519063y
p11/ss = -0.000519063x +0.999999865y
p11/coffset = -0.000046

p12/min_fs = 0
p12/max_fs = 255
p12/min_ss = 768
p12/max_ss = 1023
p12/corner_x = -523.9126
p12/corner_y = +266.7076
p12/fs = +0.999998108x +0.001945263y
p12/ss = -0.001945263x +0.999998108y
p12/coffset = -0.000098

p13/min_fs = 256
p13/max_fs = 511
p13/min_ss = 768
p13/max_ss = 1023
p13/corner_x = -258.9245
p13/corner_y = +267.5193
p13/fs = +0.999999479x -0.001020336y
p13/ss = +0.001020336x +0.999999479y
p13/coffset = -0.000076

p14/min_fs = 512
p14/max_fs = 767
p14/min_ss = 768
p14/max_ss = 1023
p14/corner_x = +2.8267
p14/corner_y = +269.0353
p14/fs = +0.999998585x -0.001682334y
p14/ss = +0.001682334x +0.999998585y
p14/coffset = +0.000003

p15/min_fs = 768
p15/max_fs = 1023
p15/min_ss = 768
p15/max_ss = 1023
p15/corner_x = +268.1092
p15/corner_y = +269.0346
p15/fs = +0.999998943x +0.001453855y
p15/ss = -0.001453855x +0.999998943y
p15/coffset = +0.000080
