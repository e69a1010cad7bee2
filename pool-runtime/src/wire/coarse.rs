//! A length of time in 16 bits: eleven bits that are shifted by the other five, in nanoseconds.
//!
//! Right to a two-thousandth, from one nanosecond to more than an hour.

use std::time::Duration;

const BITS: u32 = 11;

pub(crate) fn encode(length: Duration) -> u16 {
    let nanos = u64::try_from(length.as_nanos()).unwrap_or(u64::MAX);
    let shift = (u64::BITS - nanos.leading_zeros()).saturating_sub(BITS);
    if shift > 31 {
        return u16::MAX;
    }
    // Eleven bits are left.
    let mantissa = (nanos >> shift) as u16;
    (shift as u16) << BITS | mantissa
}

/// In nanoseconds.
#[inline]
pub(crate) fn decode(coarse: u16) -> u64 {
    let mantissa = u64::from(coarse & ((1 << BITS) - 1));
    mantissa << (coarse >> BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_right_to_a_two_thousandth() {
        for exponent in 0..42 {
            for nanos in [1u64 << exponent, (1 << exponent) + 1, (1 << exponent) * 5 / 3] {
                let length = Duration::from_nanos(nanos);
                let told = Duration::from_nanos(decode(encode(length)));
                assert!(told <= length && length - told <= length / 1000, "{length:?}: {told:?}");
            }
        }
        assert_eq!(decode(encode(Duration::ZERO)), 0);
    }

    #[test]
    fn what_is_longer_is_the_longest() {
        assert_eq!(encode(Duration::MAX), u16::MAX);
        assert!(decode(u16::MAX) > 3_600_000_000_000);
    }
}
