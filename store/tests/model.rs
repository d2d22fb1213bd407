//! The store is a map, whatever happens to it: a short run of the model that `harness model` runs for long.

use crate::proof;

#[tokio::test(flavor = "multi_thread")]
async fn random_sequences_leave_what_a_map_would_hold() {
    let seed = proof::seed();
    for n in 0..8 {
        proof::seeded(seed + n, proof::model::run(seed + n, 40).await).unwrap();
    }
}
