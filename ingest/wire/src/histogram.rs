//! Native histograms as they cross the wire, whatever protocol they come by.

/// Schema of histograms whose bucket bounds are given one by one.
pub const CUSTOM_BOUNDS: i32 = -53;

/// A native histogram. Nothing of it is checked yet: spans and counts may not fit each other.
///
/// Under schemas -4 to 8 the bounds grow by the factor `2^(2^-schema)`: bucket `i` holds the observations in
/// `(2^((i-1)·2^-schema), 2^(i·2^-schema)]`, on the negative side mirrored. Under [`CUSTOM_BOUNDS`] bucket `i` ends at
/// `custom_bounds[i]`.
///
/// Counts are floats; integer counts up to 2^53 are exact.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NativeHistogram {
    /// Epoch milliseconds.
    pub t_ms: i64,
    /// What the sender knows about a reset before this sample.
    pub reset: ResetHint,
    /// Resolution.
    pub schema: i32,
    /// Width of the zero bucket, in the observations' unit.
    pub zero_threshold: f64,
    /// Observations in the zero bucket.
    pub zero_count: f64,
    /// All observations.
    pub count: f64,
    /// Sum of the observations, with the bits that were sent: a stale marker stays one.
    pub sum: f64,
    /// Buckets of positive observations.
    pub positive: NativeBuckets,
    /// Buckets of negative observations.
    pub negative: NativeBuckets,
    /// Upper bounds under [`CUSTOM_BOUNDS`], without the infinite one.
    pub custom_bounds: Vec<f64>,
}

/// What a sender knows about a reset of a histogram's counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResetHint {
    /// Nothing.
    #[default]
    Unknown,
    /// There was one.
    Yes,
    /// There was none.
    No,
    /// The histogram goes up and down.
    Gauge,
}

/// Buckets of one side.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NativeBuckets {
    /// Stretches of buckets: of the first the index of its first bucket, of others the buckets left out since the
    /// stretch before; and the number of buckets.
    pub spans: Vec<(i32, u32)>,
    /// The count of each bucket of all spans, not added up.
    pub counts: Vec<f64>,
}
