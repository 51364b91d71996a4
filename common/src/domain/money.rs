//! Money as whole minor units. Decimal text is read and written exactly; nothing passes through a float and nothing is
//! rounded: a payment is of the very amount that the person confirmed.

use std::fmt;
use std::str::FromStr;

/// An amount in one currency, in that currency's minor unit: øre, cent, yen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Amount {
    /// Minor units; negative is legal for a balance, never for a payment.
    pub minor: i64,
    /// The currency that `minor` counts.
    pub currency: Currency,
}

impl Amount {
    /// An amount of `minor` units.
    pub const fn new(minor: i64, currency: Currency) -> Self {
        Self { minor, currency }
    }

    /// Norwegian øre.
    pub const fn nok(minor: i64) -> Self {
        Self::new(minor, Currency::Nok)
    }

    /// Reads `^-?[0-9]{1,14}(\.[0-9]{1,3})?$`. Digits beyond the currency's must be zero: `1.000` NOK is one krone,
    /// `1.005` NOK is refused. `-0` is 0.
    pub fn parse(text: &str, currency: Currency) -> Result<Self, AmountError> {
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = match unsigned.split_once('.') {
            Some((whole, fraction)) if matches!(fraction.len(), 1..=3) => (whole, fraction),
            Some(_) => return Err(AmountError::Malformed),
            None => (unsigned, ""),
        };
        if !matches!(whole.len(), 1..=14) {
            return Err(AmountError::Malformed);
        }
        let exponent = currency.exponent();
        let mut minor = 0_i64;
        // 14 digits and at most 3 decimals stay far below i64::MAX, so the sum cannot overflow.
        for byte in whole.bytes() {
            minor = minor * 10 + digit(byte)?;
        }
        let mut decimals = fraction.bytes();
        for _ in 0..exponent {
            minor = minor * 10 + decimals.next().map_or(Ok(0), digit)?;
        }
        let mut rest = 0;
        for byte in decimals {
            rest += digit(byte)?;
        }
        if rest != 0 {
            return Err(AmountError::TooPrecise { currency });
        }
        Ok(Self::new(if negative { -minor } else { minor }, currency))
    }

    /// The decimal text that goes out: always all decimals of the currency, a dot, no grouping.
    pub fn to_decimal(self) -> String {
        let sign = if self.minor < 0 { "-" } else { "" };
        let digits = self.minor.unsigned_abs();
        let exponent = self.currency.exponent();
        if exponent == 0 {
            return format!("{sign}{digits}");
        }
        let unit = 10_u64.pow(exponent);
        format!(
            "{sign}{}.{:0width$}",
            digits / unit,
            digits % unit,
            width = exponent as usize
        )
    }
}

fn digit(byte: u8) -> Result<i64, AmountError> {
    if byte.is_ascii_digit() {
        Ok(i64::from(byte - b'0'))
    } else {
        Err(AmountError::Malformed)
    }
}

/// Why a decimal text is not an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// Not the pattern: a comma, a sign, an exponent, spaces, other digits, too long.
    #[error("the amount is not 1 to 14 digits with at most 3 decimals after a dot")]
    Malformed,
    /// More decimals than the currency has, and not zeros. Rounding money is nobody's right.
    #[error("the amount has more decimals than {currency} has")]
    TooPrecise {
        /// The currency that was asked for.
        currency: Currency,
    },
}

macro_rules! currencies {
    ($($variant:ident, $code:literal, $exponent:literal, $doc:literal;)+) => {
        /// The currencies that Drop knows (ISO 4217). Any other is refused, never converted.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Currency {
            $(#[doc = $doc] $variant,)+
        }

        impl Currency {
            /// Every currency, for tables and tests.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The ISO code, upper case.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)+ }
            }

            /// How many decimals the currency has.
            pub const fn exponent(self) -> u32 {
                match self { $(Self::$variant => $exponent,)+ }
            }
        }

        impl FromStr for Currency {
            type Err = UnknownCurrency;

            /// Upper case only: a bank that writes `nok` is a bank to look at.
            fn from_str(code: &str) -> Result<Self, UnknownCurrency> {
                match code { $($code => Ok(Self::$variant),)+ _ => Err(UnknownCurrency) }
            }
        }
    };
}

currencies! {
    Nok, "NOK", 2, "Norwegian krone.";
    Eur, "EUR", 2, "Euro.";
    Sek, "SEK", 2, "Swedish krona.";
    Dkk, "DKK", 2, "Danish krone.";
    Gbp, "GBP", 2, "Pound sterling.";
    Usd, "USD", 2, "US dollar.";
    Pln, "PLN", 2, "Polish złoty.";
    Rsd, "RSD", 2, "Serbian dinar.";
    Bam, "BAM", 2, "Bosnian convertible mark.";
    Try, "TRY", 2, "Turkish lira.";
    Jpy, "JPY", 0, "Japanese yen.";
    Isk, "ISK", 0, "Icelandic króna.";
    Bhd, "BHD", 3, "Bahraini dinar.";
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// A code that is none of [`Currency`]'s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown currency")]
pub struct UnknownCurrency;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("2010.00", Currency::Nok, 201_000, "2010.00")]
    #[case("10", Currency::Nok, 1_000, "10.00")]
    #[case("10.5", Currency::Nok, 1_050, "10.50")]
    #[case("0.01", Currency::Nok, 1, "0.01")]
    #[case("1.000", Currency::Nok, 100, "1.00")]
    #[case("-1.50", Currency::Eur, -150, "-1.50")]
    #[case("-0.05", Currency::Eur, -5, "-0.05")]
    #[case("-0", Currency::Nok, 0, "0.00")]
    #[case("-0.00", Currency::Nok, 0, "0.00")]
    #[case("007.10", Currency::Nok, 710, "7.10")]
    #[case("99999999999999.99", Currency::Nok, 9_999_999_999_999_999, "99999999999999.99")]
    #[case("1500", Currency::Jpy, 1_500, "1500")]
    #[case("1500.000", Currency::Isk, 1_500, "1500")]
    #[case("1.005", Currency::Bhd, 1_005, "1.005")]
    #[case("-1", Currency::Bhd, -1_000, "-1.000")]
    fn decimal_text_is_read_exactly_and_written_with_all_decimals(
        #[case] text: &str,
        #[case] currency: Currency,
        #[case] minor: i64,
        #[case] written: &str,
    ) {
        let amount = Amount::parse(text, currency).unwrap();
        assert_eq!(amount, Amount::new(minor, currency));
        assert_eq!(amount.to_decimal(), written);
    }

    #[rstest]
    fn anything_but_the_pattern_is_refused(
        #[values(
            "10,50",
            "1 000.00",
            "1e3",
            "+1",
            ".5",
            "5.",
            " 5",
            "5 ",
            "",
            "-",
            "--1",
            "NaN",
            "inf",
            "1.2.3",
            "1.0000",
            "0x10",
            "\u{663}",
            "\u{ff11}",
            "100000000000000",
            "100000000000000.00",
            "-100000000000000",
            "1_000",
            "1.-5",
            "-.5",
            "1.5\n",
            "\u{bd}"
        )]
        text: &str,
    ) {
        assert_eq!(Amount::parse(text, Currency::Nok), Err(AmountError::Malformed));
    }

    #[rstest]
    #[case("1.005", Currency::Nok)]
    #[case("0.001", Currency::Eur)]
    #[case("1.5", Currency::Jpy)]
    #[case("1.001", Currency::Isk)]
    fn decimals_the_currency_lacks_are_refused_and_not_rounded(#[case] text: &str, #[case] currency: Currency) {
        assert_eq!(Amount::parse(text, currency), Err(AmountError::TooPrecise { currency }));
    }

    #[rstest]
    fn a_currency_is_three_known_capital_letters(
        #[values("nok", "Nok", "XXX", "", "NO", "NOKK", " NOK", "NOK ")] code: &str,
    ) {
        assert_eq!(code.parse::<Currency>(), Err(UnknownCurrency));
    }

    #[test]
    fn every_currency_reads_back_from_its_code() {
        for currency in Currency::ALL {
            assert_eq!(currency.code().parse(), Ok(*currency));
            assert_eq!(currency.to_string(), currency.code());
        }
    }

    #[test]
    fn the_smallest_integer_can_be_written() {
        assert_eq!(Amount::nok(i64::MIN).to_decimal(), "-92233720368547758.08");
    }

    fn currency() -> impl Strategy<Value = Currency> {
        prop::sample::select(Currency::ALL)
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(whole in -99_999_999_999_999_i64..=99_999_999_999_999, sub in 0..1_000_i64, currency in currency()) {
            let unit = 10_i64.pow(currency.exponent());
            let amount = Amount::new(whole * unit + (sub % unit) * whole.signum(), currency);
            prop_assert_eq!(Amount::parse(&amount.to_decimal(), currency), Ok(amount));
        }

        #[test]
        fn parsing_agrees_with_the_written_pattern(text in "[-+]?[0-9]{0,16}[.,]?[0-9]{0,4}", currency in currency()) {
            let body = text.strip_prefix('-').unwrap_or(&text);
            let (whole, fraction) = body.split_once('.').map_or((body, None), |(whole, fraction)| (whole, Some(fraction)));
            let digits = |part: &str, max: usize| (1..=max).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
            let fits = digits(whole, 14) && fraction.is_none_or(|fraction| digits(fraction, 3));
            prop_assert_eq!(Amount::parse(&text, currency) != Err(AmountError::Malformed), fits);
        }

        #[test]
        fn no_text_panics(text in ".*", currency in currency()) {
            let _ = Amount::parse(&text, currency);
        }
    }
}
