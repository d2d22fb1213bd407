//! XXH64, by which `limit_ratio` chooses the same series as Prometheus.
//!
//! Source: Yann Collet, "xxHash fast digest algorithm", version 0.1.1.

const P1: u64 = 0x9E37_79B1_85EB_CA87;
const P2: u64 = 0xC2B2_AE3D_27D4_EB4F;
const P3: u64 = 0x1656_67B1_9E37_79F9;
const P4: u64 = 0x85EB_CA77_C2B2_AE63;
const P5: u64 = 0x27D4_EB2F_1656_67C5;

fn round(acc: u64, input: u64) -> u64 {
    acc.wrapping_add(input.wrapping_mul(P2)).rotate_left(31).wrapping_mul(P1)
}

fn word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |w, b| (w << 8) | u64::from(*b))
}

/// Returns the hash with seed zero.
pub(super) fn xxh64(bytes: &[u8]) -> u64 {
    let mut chunks = bytes.chunks_exact(32);
    let mut hash = if bytes.len() >= 32 {
        let mut acc = [P1.wrapping_add(P2), P2, 0, 0u64.wrapping_sub(P1)];
        for chunk in &mut chunks {
            for (a, lane) in acc.iter_mut().zip(chunk.chunks_exact(8)) {
                *a = round(*a, word(lane));
            }
        }
        let rotated = [1, 7, 12, 18].iter().zip(acc).map(|(by, a): (&u32, u64)| a.rotate_left(*by));
        let sum = rotated.fold(0u64, u64::wrapping_add);
        acc.iter().fold(sum, |h, a| (h ^ round(0, *a)).wrapping_mul(P1).wrapping_add(P4))
    } else {
        P5
    };
    hash = hash.wrapping_add(bytes.len() as u64);
    let mut rest = if bytes.len() >= 32 { chunks.remainder() } else { bytes };
    while rest.len() >= 8 {
        hash = (hash ^ round(0, word(&rest[..8]))).rotate_left(27).wrapping_mul(P1).wrapping_add(P4);
        rest = &rest[8..];
    }
    if rest.len() >= 4 {
        hash = (hash ^ word(&rest[..4]).wrapping_mul(P1)).rotate_left(23).wrapping_mul(P2).wrapping_add(P3);
        rest = &rest[4..];
    }
    for b in rest {
        hash = (hash ^ u64::from(*b).wrapping_mul(P5)).rotate_left(11).wrapping_mul(P1);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(P2);
    hash = (hash ^ (hash >> 29)).wrapping_mul(P3);
    hash ^ (hash >> 32)
}

#[cfg(test)]
mod tests {
    use super::xxh64;

    #[test]
    fn known_hashes() {
        // From the reference implementation's command `xxhsum -H1`.
        assert_eq!(xxh64(b""), 0xef46_db37_51d8_e999);
        assert_eq!(xxh64(b"a"), 0xd24e_c4f1_a98c_6e5b);
        assert_eq!(xxh64(b"abc"), 0x44bc_2cf5_ad77_0999);
    }
}
