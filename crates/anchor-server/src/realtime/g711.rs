//! The two codes of telephony, 8 bits a sample: mu-law and A-law (ITU-T G.711).

/// One of the codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Law {
    Mu,
    A,
}

impl Law {
    /// The sample a code stands for, as one of 16 bits.
    pub(super) fn decode(self, code: u8) -> i16 {
        match self {
            Self::Mu => {
                let code = !code;
                let magnitude = ((i16::from(code & 0x0f) << 3) + 0x84) << ((code & 0x70) >> 4);
                if code & 0x80 == 0 { magnitude - 0x84 } else { 0x84 - magnitude }
            }
            Self::A => {
                let code = code ^ 0x55;
                let step = i16::from(code & 0x0f) << 4;
                let magnitude = match (code & 0x70) >> 4 {
                    0 => step + 8,
                    segment => (step + 0x108) << (segment - 1),
                };
                if code & 0x80 == 0 { -magnitude } else { magnitude }
            }
        }
    }

    /// The code for a sample of 16 bits: the segment by its highest bit, then four more bits.
    pub(super) fn encode(self, sample: i16) -> u8 {
        match self {
            Self::Mu => {
                // The largest value that can be coded, and the bias that makes segments powers of two.
                let magnitude = sample.unsigned_abs().min(32_635) + 0x84;
                let segment = (magnitude >> 7).ilog2();
                let step = (magnitude >> (segment + 3)) & 0x0f;
                let sign = if sample < 0 { 0x80 } else { 0 };
                !(sign | (segment as u8) << 4 | step as u8)
            }
            Self::A => {
                let magnitude = if sample < 0 { !sample } else { sample }.unsigned_abs();
                // The first two segments have steps of the same size.
                let segment = magnitude.checked_ilog2().map_or(0, |bits| bits.saturating_sub(7));
                let step = (magnitude >> (segment.max(1) + 3)) & 0x0f;
                let sign = if sample < 0 { 0 } else { 0x80 };
                (sign | (segment as u8) << 4 | step as u8) ^ 0x55
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Output values of the positive half, first and last of each segment: tables 1a and 2a of the recommendation.
    const A_LAW: [(u8, i16); 8] =
        [(0xff, 4032), (0xf0, 2112), (0xef, 2016), (0xe0, 1056), (0xd0, 528), (0xb0, 132), (0x90, 33), (0x80, 1)];
    const MU_LAW: [(u8, i16); 8] =
        [(0x80, 8031), (0x8f, 4191), (0x90, 3999), (0x9f, 2079), (0xaf, 1023), (0xcf, 231), (0xef, 33), (0xff, 0)];

    #[test]
    fn codes_stand_for_the_values_of_the_recommendation() {
        for (code, value) in A_LAW {
            // Even bits are inverted on the line; 13 bits become 16.
            assert_eq!(Law::A.decode(code ^ 0x55), value * 8, "{code:#x}");
            assert_eq!(Law::A.decode((code ^ 0x80) ^ 0x55), value * -8, "{code:#x}");
        }
        for (code, value) in MU_LAW {
            // 14 bits become 16.
            assert_eq!(Law::Mu.decode(code), value * 4, "{code:#x}");
            assert_eq!(Law::Mu.decode(code ^ 0x80), value * -4, "{code:#x}");
        }
    }

    #[test]
    fn the_code_changes_at_the_decision_values_of_the_recommendation() {
        // 4063 and 2015 are decision values of table 2a, 2048 and 1024 of table 1a.
        for (law, decision) in [(Law::Mu, 4063 * 4), (Law::Mu, 2015 * 4), (Law::A, 2048 * 8), (Law::A, 1024 * 8)] {
            assert_ne!(law.encode(decision - 1), law.encode(decision), "{law:?} {decision}");
            assert_eq!(law.encode(decision), law.encode(decision + 20), "{law:?} {decision}");
        }
    }

    #[test]
    fn every_code_survives_and_the_extremes_are_clipped() {
        for law in [Law::Mu, Law::A] {
            for code in 0..=u8::MAX {
                let value = law.decode(code);
                assert_eq!(law.decode(law.encode(value)), value, "{law:?} {code:#x}");
            }
            assert_eq!(law.decode(law.encode(i16::MAX)), law.decode(law.encode(32_100)));
            assert_eq!(law.decode(law.encode(i16::MIN)), -law.decode(law.encode(i16::MAX)));
        }
        assert_eq!(Law::Mu.encode(0), 0xff, "silence is positive");
    }
}
