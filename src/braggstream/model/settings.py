"""What the user chose, one frozen record a step.  Defaults are CrystFEL's."""

from dataclasses import dataclass, field
from math import inf
from typing import Literal

from braggstream.model.cell import UnitCell
from braggstream.model.live_merge_settings import LiveMergeSettings
from braggstream.model.shown import ShownSettings

ALL_HEADERS = "all"
"""Name under which all headers of a frame are copied (`--copy-header=all`)."""


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class FrameSettings(ShownSettings):
    """How a frame is loaded."""

    data_format: str | None = None
    """Format of streamed frames (`--data-format`), None = told by the bytes of each frame."""
    load_image: bool = True
    """Load pixel values (off: `--no-image-data`)."""
    load_masks: bool = True
    """Load bad-pixel masks (off: `--no-mask-data`)."""
    highres: float = inf
    """Pixels with 1/d at or beyond this are bad [Å⁻¹] (`--highres`, which takes Å)."""
    copy_headers: tuple[str, ...] = ()
    """Headers to copy into each chunk, `all` for all that a frame has (`--copy-header`)."""
    load_peaks: bool = False
    """Load the peak list that the geometry's `peak_list` names."""
    max_message_bytes: int = 1 << 30
    """Largest message taken from a socket [bytes]."""


DEFAULT_RADII = (4.0, 5.0, 7.0)
"""Ring radii of peaks and reflections [px]."""


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class PeakSettings(ShownSettings):
    """How peaks are found (`--peaks` and the options of each method)."""

    method: str = "zaef"
    """`zaef`, `peakfinder8`, `peakfinder9`, `msgpack`, `hdf5`, `cxi` or `none` (`--peaks`)."""
    threshold: float = 800.0
    """Lowest pixel value of a peak [detector units] (`--threshold`)."""
    min_squared_gradient: float = 100000.0
    """Lowest squared gradient [detector units² per px²] (`--min-squared-gradient`)."""
    min_snr: float = 5.0
    """Lowest signal-to-noise ratio; its definition depends on the method (`--min-snr`)."""
    min_pix_count: int = 2
    """Fewest pixels of a peak (`--min-pix-count`)."""
    max_pix_count: int = 200
    """Most pixels of a peak (`--max-pix-count`)."""
    local_bg_radius: int = 3
    """Half of the local background's half-width; of peakfinder9's window all of it [px] (`--local-bg-radius`)."""
    min_snr_biggest_pix: float = 7.0
    """Lowest signal of a peak's highest pixel [standard deviations of the background] (`--min-snr-biggest-pix`)."""
    min_snr_peak_pix: float = 6.0
    """Lowest signal of a peak's other pixels [standard deviations of the background] (`--min-snr-peak-pix`)."""
    min_sig: float = 11.0
    """Lowest standard deviation of the background that is reckoned with [detector units] (`--min-sig`)."""
    min_peak_over_neighbour: float = -inf
    """How much higher a peak is than the middle of the window's sides (`--min-peak-over-neighbour`)."""
    median_filter: int = 0
    """Half-width of the median filter; 0 = none [px] (`--median-filter`)."""
    filter_noise: bool = False
    """Set to zero what has a negative pixel in its 3 x 3 neighbourhood (`--filter-noise`)."""
    min_res: float = 0.0
    """Inner radius of the search, from the beam axis [px] (`--min-res`)."""
    max_res: float = 0.0
    """Outer radius of the search; 0 = none [px] (`--max-res`)."""
    fast: bool = False
    """Take peakfinder8's radial statistics from a sample of 100 pixels a bin (`--peakfinder8-fast`)."""
    radii: tuple[float, float, float] = DEFAULT_RADII
    """Inner, middle and outer ring radius [px] (`--peak-radius`, else `--int-radius`)."""
    use_saturated: bool = True
    """Keep saturated peaks (off: `--no-use-saturated`)."""
    revalidate: bool = True
    """Integrate supplied peaks again and drop the bad ones (off: `--no-revalidate`)."""
    check_snr: bool = False
    """Apply `min_snr` while revalidating (`--check-hdf5-snr`)."""
    half_pixel_shift: bool = True
    """Add half a pixel to supplied positions (off: `--no-half-pixel-shift`)."""
    min_peaks: int = 0
    """A frame with at least so many peaks is a hit (`--min-peaks`)."""
    device: str = "cpu"
    """Where kernels run that can run in both places: `cpu` or `cuda` (`--device`)."""


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class FfbidxSettings(ShownSettings):
    """Parameters of the known-cell sampling indexer (`--ffbidx-*`; Gasparotto et al. 2024)."""

    max_spots: int = 200
    output_cells: int = 32
    """Cells refined; CrystFEL refines one, which is fragile."""
    num_candidate_vectors: int = 32
    redundant_computations: bool = False
    num_halfsphere_points: int = 32768
    num_angle_points: int = 0
    length_threshold: float = 1e-9
    triml: float = 0.001
    trimh: float = 0.3
    delta: float = 0.1
    dist1: float = 0.2
    dist3: float = 0.15
    min_spots: int = 6
    ifssr_min_spots: int = 8
    ifssr_max_dist: float = 0.00075
    """[Å⁻¹]"""
    ifssr_max_iter: int = 32
    ifssr_threshold_contraction: float = 0.8


@dataclass(frozen=True, kw_only=True, slots=True)
class XgandalfSettings:
    """Parameters of indexing by search and refinement of lattice vectors (`--xgandalf-*`; Gevorkov et al. 2019)."""

    sampling_pitch: int = 6
    """Density of the samples, 0 (coarse) to 4, 5 to 7 with the sums of axes."""
    grad_desc_iterations: int = 4
    """Steps of the ascent, 0 (few) to 5."""
    tolerance: float = 0.02
    """Relative deviation from the expected cell."""
    no_deviation_from_provided_cell: bool = False
    """Only turn the expected cell."""
    min_lattice_vector_length: float = 30.0
    """Shortest axis of a primitive cell where none is expected [Å]."""
    max_lattice_vector_length: float = 250.0
    """Longest axis of a primitive cell where none is expected [Å]."""
    max_peaks: int = 250
    """Peaks of lowest resolution with which vectors are looked for."""
    fast_execution: bool = False
    """The same as pitch 2 and iterations 3."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TaketwoSettings:
    """Parameters of indexing by pairs of vectors between spots (`--taketwo-*`; Ginn et al. 2016)."""

    member_threshold: int = 20
    """A network of at least so many vectors may end the search."""
    len_tolerance: float = 0.001
    """Difference of an observed length from that of a lattice vector [Å⁻¹]."""
    angle_tolerance: float = 0.6
    """Difference of an observed angle from that between lattice vectors [deg]."""
    trace_tolerance: float = 3.0
    """Orientations that differ by less are one [deg]."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AsdfSettings:
    """Parameters of the indexer that needs no cell (`--asdf-*`)."""

    fast: bool = False
    """Take a third of the time for the search (`--asdf-fast`)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PinkIndexerSettings:
    """Parameters of the indexer for wide spectra and electrons (`--pinkIndexer-*`; Gevorkov et al. 2020)."""

    considered_peaks_count: int = 4
    """How many peaks vote, 0 (16) to 4 (64)."""
    angle_resolution: int = 2
    """How finely rotations are told apart, 0 (8°) to 4 (2°); long axes need finer cells and get them."""
    refinement_type: int = 1
    """0 none, 1 rotation, 2 cell, 3 rotation, then cell, 4 the same from several starts, 5 and beam centre."""
    tolerance: float = 0.06
    """Largest distance of a peak from its lattice point, as a part of the shortest reciprocal axis."""
    reflection_radius: float | None = None
    """Radius of a lattice point [Å⁻¹]; None = 2 % of the shortest reciprocal axis."""
    max_resolution_for_indexing: float = inf
    """Peaks further out do not vote [Å⁻¹]."""
    max_refinement_disbalance: float = 0.4
    """Largest distance between the mean directions of the explained peaks and of all, 0 to 2."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FelixSettings:
    """Parameters of the program Felix (`--felix-*`; Beyerlein et al. 2017)."""

    domega: float = 2.0
    """[deg]"""
    fraction_max_visits: float = 0.75
    max_internal_angle: float = 0.25
    """Largest mean angle between peaks and lattice points [deg]."""
    max_uniqueness: float = 0.5
    min_completeness: float = 0.001
    min_visits: int = 15
    num_voxels: int = 100
    sigma: float = 0.2
    tthrange_max: float = 30.0
    """[deg]"""
    tthrange_min: float = 0.0
    """[deg]"""


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class IndexingSettings(ShownSettings):
    """How lattices are found and judged (`--indexing` and its options)."""

    methods: tuple[str, ...] = ("ffbidx",)
    """Tried in order until one succeeds; `("none",)` switches indexing off."""
    target_cell: UnitCell | None = None
    """The cell the user expects (`-p`)."""
    tolerance: tuple[float, float, float, float, float, float] = (5.0, 5.0, 5.0, 1.5, 1.5, 1.5)
    """Allowed deviation of lengths [percent] and angles [deg] (`--tolerance`)."""
    check_cell: bool = True
    check_peaks: bool = True
    refine: bool = True
    spot_centres: bool = True
    """Find and refine lattices with fitted centres of spots; the list of peaks stays (off: `--no-spot-centres`)."""
    moves_detector: bool = False
    """Refine the detector's shift in x and y for each crystal as well (`--refine-detector-shift`)."""
    retry: bool = True
    multi: bool = False
    """Look for several lattices in a frame (`--multi`)."""
    max_lattices: int = 100
    """With `multi`, at most so many (`--max-lattices`)."""
    ffbidx: FfbidxSettings = field(default_factory=FfbidxSettings)
    xgandalf: XgandalfSettings = field(default_factory=XgandalfSettings)
    taketwo: TaketwoSettings = field(default_factory=TaketwoSettings)
    asdf: AsdfSettings = field(default_factory=AsdfSettings)
    pink_indexer: PinkIndexerSettings = field(default_factory=PinkIndexerSettings)
    felix: FelixSettings = field(default_factory=FelixSettings)
    scratch: str | None = None
    """Folder for the files of other programs; None = the system's."""
    solutions_file: str | None = None
    """List of lattices for the method `file` (`--fromfile-input-file`)."""
    find_cell: bool = False
    """Find the unit cell from the first hits, and index with it from then on (`--find-cell`)."""
    wavelength_estimate: float | None = None
    """[Å]; a frame more than 10 % off gives a warning."""
    camera_length_estimate: float | None = None
    """[m]; a frame more than 10 % off gives a warning."""
    device: str = "cpu"
    """Where kernels run that can run in both places: `cpu` or `cuda` (`--device`)."""


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class IntegrationSettings(ShownSettings):
    """How reflections are predicted and integrated (`--integration`, `--int-radius`, ...)."""

    method: str = "rings"
    """`rings`, `prof2d` or `none`."""
    centre: bool = False
    """Move each box onto its brightest pixel (`-cen`)."""
    keep_saturated: bool = False
    """Keep saturated reflections (`-sat`)."""
    gradient: bool = False
    """Fit a sloping background (`-grad`)."""
    radii: tuple[float, float, float] = DEFAULT_RADII
    """Inner, middle and outer ring radius [px] (`--int-radius`)."""
    push_res: float = inf
    """Predict this far beyond the crystal's resolution limit [Å⁻¹] (`--push-res`, which takes nm⁻¹)."""
    overpredict: bool = False
    """Predict with five times the profile radius (`--overpredict`)."""
    fix_profile_radius: float | None = None
    """Use this profile radius [Å⁻¹] instead of measuring it (`--fix-profile-radius`, which takes m⁻¹)."""
    fix_divergence: float = 0.0
    """Recorded in the stream file [rad] (`--fix-divergence`)."""
    cell_parameters_only: bool = False
    """Neither predict nor integrate (`--cell-parameters-only`)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GeometrySettings:
    """Whether beam centre and camera length are estimated from the crystals while the session runs."""

    refine: Literal["off", "report", "live"] = "off"
    """`report`: estimate and tell; `live`: also apply to the frames that follow (`--refine-geometry`)."""
    ask_every: int = 1
    """Crystals of frames whose serial number is a multiple of this are asked; the session sets it."""
    refined_file: str | None = None
    """Geometry file to write at the end; None = none is written (`--refined-geometry`)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CalibrationSettings:
    """Records for the calibration of the detector's geometry with Millepede (`--mille` and its options)."""

    write_records: bool = False
    """Make a record of each refined crystal (`--mille`)."""
    max_level: int = 99
    """Deepest level of the groups of panels that may move; 0 is the whole detector (`--max-mille-level`)."""


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Settings(ShownSettings):
    """All that the recipe for one frame depends on, besides the geometry."""

    frame: FrameSettings = field(default_factory=FrameSettings)
    peaks: PeakSettings = field(default_factory=PeakSettings)
    indexing: IndexingSettings = field(default_factory=IndexingSettings)
    integration: IntegrationSettings = field(default_factory=IntegrationSettings)
    geometry: GeometrySettings = field(default_factory=GeometrySettings)
    calibration: CalibrationSettings = field(default_factory=CalibrationSettings)


@dataclass(frozen=True, kw_only=True, slots=True)
class FileSourceSettings:
    """Frames from files (`--input` and its options)."""

    list_file: str
    """The list of files; `-` is standard input (`--input`)."""
    prefix: str = ""
    """Put in front of each name, as it stands (`--prefix`)."""
    basename: bool = False
    """Drop the folder part of each name first (`--basename`)."""
    wait_for_file: int = 0
    """Seconds to wait for a missing file; -1 = for ever (`--wait-for-file`)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ZmqSourceSettings:
    """Frames from a ZeroMQ socket (`--zmq-input` and its options); exactly one of the three kinds is chosen."""

    endpoint: str
    """Address to connect to, for example `tcp://127.0.0.1:5002` (`--zmq-input`)."""
    request: str | None = None
    """REQ: the text to send for each frame (`--zmq-request`)."""
    subscribe: tuple[str, ...] = ()
    """SUB: prefixes of the messages wanted (`--zmq-subscribe`)."""
    pull: bool = False
    """PULL (`--zmq-pull`)."""
    reply_timeout_s: float = 3.0
    """After so long without a reply the REQ socket is built anew and asks again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AsapoServiceSettings:
    """Where ASAP::O is, and the data that are meant (`--asapo-endpoint` and its options)."""

    endpoint: str
    """`host:port` of the service (`--asapo-endpoint`)."""
    token: str = field(repr=False)
    """Permission to read (`--asapo-token`, `--asapo-token-file`); it is written nowhere."""
    beamtime: str
    """(`--asapo-beamtime`)"""
    source: str
    """Data source, the detector for example (`--asapo-source`)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AsapoSourceSettings:
    """Frames from ASAP::O (`--asapo-endpoint` and its options)."""

    service: AsapoServiceSettings
    group: str
    """Consumers of the same group share the messages (`--asapo-group`)."""
    stream: str | None = None
    """The message stream; None = all of the source, in the order of their creation (`--asapo-stream`)."""
    follow: bool = False
    """Go on with the stream that follows the one named, where that says so (`--asapo-follow`)."""
    wait_for_stream: bool = False
    """An empty or missing stream is waited for (`--asapo-wait-for-stream`)."""
    acks: bool = False
    """Acknowledge each message once its chunk is on disk; those that are not come again (`--asapo-acks`)."""
    timeout_s: float = 0.5
    """One question for the next message waits so long [s] (`--asapo-consumer-timeout`, in ms)."""
    no_data_timeout_s: float = 60.0
    """The session ends after so long at the end of all streams [s] (`--no-data-timeout`)."""
    resend_delay_s: float = 60.0
    """A message that is not acknowledged comes again after so long [s] (`--asapo-resend-delay`)."""
    publish: bool = False
    """Hits are sent to the source `<source>_hits` (`--asapo-output-stream`)."""


SourceSettings = FileSourceSettings | ZmqSourceSettings | AsapoSourceSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputSettings:
    """Where results go and what of them (`--output` and its options)."""

    stream_file: str
    append: bool = False
    """Go on at the end of an existing stream file (`--append`)."""
    write_non_hits: bool = True
    """(off: `--no-non-hits-in-stream`)"""
    write_peaks: bool = True
    """(off: `--no-peaks-in-stream`)"""
    write_reflections: bool = True
    """(off: `--no-refls-in-stream`)"""
    mille_file: str | None = None
    """Millepede records go to this file (`--mille-dir`, `--mille-file`)."""
    reflections_file: str | None = None
    """Crystals and reflections go to this columnar cache (`--reflections-out`)."""
    send_observations: bool = False
    """Workers send crystals and reflections as numbers too, for merging (`--reflections-out`, `--live-merge`)."""
    json_summary: str | None = None
    """Write the ledger and the totals to this file (`--json-summary`)."""
    command_line: tuple[str, ...] = ()
    """The words of the command line, for the stream file's header."""
    indexing_words: str = ""
    """The methods as they go into the stream file's header."""
    found_cell_file: str | None = None
    """Where a unit cell that was found is written (`--find-cell=FILE`)."""
    audit_lines: tuple[str, ...] = ()
    """More about the session, for the header: short lines, readers take few bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSettings:
    """How frames are spread over processes."""

    n_workers: int = 1
    """Worker processes (`-j`)."""
    serial_start: int = 1
    """Serial number of the first frame (`--serial-start`)."""
    frame_timeout_s: float = 240.0
    """A worker that spends longer on one frame is killed and replaced (`--frame-timeout`)."""
    status_interval_s: float = 5.0
    """Time between status lines."""
    when_behind: Literal["wait", "sample"] = "wait"
    """While workers are behind: the sender waits, or the newest frames are taken (`--when-behind`)."""
    profile: bool = False
    """Tell each frame's times on standard output, and a table at the end (`--profile`)."""
    keep_going: bool = False
    """Go on where the first hundred frames all fail (`--keep-going`)."""
    cpu_pin: bool = False
    """Bind worker k to processor k (`--cpu-pin`)."""
    temp_dir: str = "."
    """Where temporary folders are made (`--temp-dir`)."""
    live_merge: LiveMergeSettings | None = None
    """How crystals are merged while the session runs; None: not at all (`--live-merge`)."""
