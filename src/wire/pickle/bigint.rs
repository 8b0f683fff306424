//! Python integers beyond 64 bits.

use std::{fmt, sync::Arc};

use super::value::Value;

/// A Python `int` that does not fit `i64`, as little-endian two's complement in as few bytes as
/// hold it. Clones share the digits.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct BigInt(Arc<[u8]>);

impl BigInt {
    /// The digits: little-endian two's complement, at least nine bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// A float without fraction as the integer it equals; `None` if it has a fraction, is not
    /// finite, or fits `i64`. At most 129 bytes.
    pub fn from_float(float: f64) -> Option<Self> {
        let bits = float.to_bits();
        let exponent = i64::try_from((bits >> 52) & 0x7ff).ok()?;
        // Below 2^63 the caller compares as i64; infinities and NaN have exponent 0x7ff.
        if float.fract() != 0.0 || !(1086..0x7ff).contains(&exponent) {
            return None;
        }
        let mantissa = (bits & ((1 << 52) - 1)) | (1 << 52);
        let shift = usize::try_from(exponent.checked_sub(1075)?).ok()?;
        let shifted = u128::from(mantissa) << (shift % 8);
        let mut digits = vec![0; shift / 8];
        digits.extend(shifted.to_le_bytes());
        digits.push(0);
        if float.is_sign_negative() {
            negate(&mut digits);
        }
        match from_digits(&digits) {
            Value::BigInt(big) => Some(big),
            _ => None,
        }
    }
}

/// The integer of these little-endian two's complement digits, as [`Value::Int`] if it fits.
pub(super) fn from_digits(digits: &[u8]) -> Value {
    let digits = minimal(digits);
    if digits.len() > size_of::<i64>() {
        return Value::BigInt(BigInt(digits.into()));
    }
    let negative = digits.last().is_some_and(|top| *top >= 0x80);
    let mut wide = [if negative { 0xff } else { 0 }; size_of::<i64>()];
    for (to, from) in wide.iter_mut().zip(digits) {
        *to = *from;
    }
    Value::Int(i64::from_le_bytes(wide))
}

/// The integer a text says in decimal, of at most 400 digits: more takes time that nobody's numbers
/// are worth.
pub fn from_decimal(text: &str) -> Option<Value> {
    let (negative, decimal) = match text.strip_prefix('-') {
        Some(decimal) => (true, decimal),
        None => (false, text),
    };
    if decimal.is_empty() || decimal.len() > 400 {
        return None;
    }
    let mut digits: Vec<u8> = Vec::new();
    for byte in decimal.bytes() {
        let mut carry = u16::from(char::from(byte).to_digit(10)? as u8);
        for digit in &mut digits {
            let value = u16::from(*digit).wrapping_mul(10).wrapping_add(carry);
            [*digit, _] = value.to_le_bytes();
            carry = value >> 8;
        }
        if carry > 0 {
            let [low, _] = carry.to_le_bytes();
            digits.push(low);
        }
    }
    digits.push(0);
    if negative {
        negate(&mut digits);
    }
    Some(from_digits(&digits))
}

/// The digits without those that only repeat the sign.
pub(super) fn minimal(digits: &[u8]) -> &[u8] {
    let mut digits = digits;
    while let [rest @ .., top] = digits {
        let sign_below = rest.last().is_some_and(|below| *below >= 0x80);
        let redundant = match top {
            0 => !sign_below,
            0xff => sign_below,
            _ => false,
        };
        if !redundant {
            break;
        }
        digits = rest;
    }
    digits
}

fn negate(digits: &mut [u8]) {
    let mut carry = true;
    for digit in digits {
        (*digit, carry) = (!*digit).overflowing_add(u8::from(carry));
    }
}

impl fmt::Debug for BigInt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Decimal needs quadratic time; hexadecimal is enough to recognise a number.
        f.write_str("0x")?;
        for digit in self.0.iter().rev() {
            write!(f, "{digit:02x}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_numbers_become_int() {
        for (digits, int) in [
            (&[][..], 0),
            (&[0], 0),
            (&[0xff], -1),
            (&[0xff, 0], 255),
            (&[0x80], -128),
            (&[0, 0, 0, 0, 0, 0, 0, 0x80], i64::MIN),
            (&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 1),
        ] {
            assert_eq!(from_digits(digits), Value::Int(int), "{digits:?}");
        }
    }

    #[test]
    fn decimals_are_read() {
        for text in ["0", "7", "-1", "255", "256", "-9223372036854775808"] {
            assert_eq!(from_decimal(text), text.parse().ok().map(Value::Int));
        }
        let Some(Value::BigInt(big)) = from_decimal("-1180591620717411303424") else {
            panic!("2^70 is big");
        };
        assert_eq!(big.as_bytes(), [0, 0, 0, 0, 0, 0, 0, 0, 0xc0]);
        for none in ["", "-", "x", "1.0", &"1".repeat(401)] {
            assert_eq!(from_decimal(none), None, "{none}");
        }
    }

    #[test]
    fn floats_equal_the_integers_they_are() {
        let two_to_the_70 = [0, 0, 0, 0, 0, 0, 0, 0, 0x40];
        assert_eq!(
            BigInt::from_float(70f64.exp2()).unwrap().as_bytes(),
            two_to_the_70
        );
        let negative = BigInt::from_float(-70f64.exp2()).unwrap();
        assert_eq!(negative.as_bytes(), [0, 0, 0, 0, 0, 0, 0, 0, 0xc0]);
        assert_eq!(BigInt::from_float(f64::MAX).unwrap().as_bytes().len(), 129);
        let two_to_the_63 = BigInt::from_float(63f64.exp2()).unwrap();
        assert_eq!(two_to_the_63.as_bytes(), [0, 0, 0, 0, 0, 0, 0, 0x80, 0]);
        for none in [0.5, 1.0, f64::INFINITY, f64::NAN, -63f64.exp2()] {
            assert_eq!(BigInt::from_float(none), None, "{none}");
        }
    }
}
