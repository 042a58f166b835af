//! Bytes, and how they are written.

/// One kibibyte, in bytes.
pub(super) const KIB: u64 = 1024;
/// One mebibyte, in bytes.
pub(super) const MIB: u64 = 1024 * KIB;
/// One gibibyte, in bytes.
pub(super) const GIB: u64 = 1024 * MIB;

/// Bytes in gigabytes of 10^9 bytes, with one digit: `14.3`. That is how the sizes of models are published.
pub(super) fn gb(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1e9)
}

/// A number with its thousands set apart: `8,192`.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(gb(14_333_908_672), "14.3");
        assert_eq!([0, 999, 1000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
    }
}
