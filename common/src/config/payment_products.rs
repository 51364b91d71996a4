use super::reader::Reader;
use crate::domain::money::Currency;

/// Which product a payment is ordered as. The standard's SEPA products are for euro and Norway has its own; the contract
/// orders all of them as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentProducts {
    /// `PISP_PRODUCT`, default `sepa-credit-transfers` (contract, also for NOK): where no rule says otherwise.
    pub otherwise: String,
    /// `PISP_PRODUCTS`, comma-separated `<currency>/<payee's country>=<product>`, default none; the country `*` stands for
    /// any other, and for an account number that does not tell its country.
    pub rules: Vec<ProductRule>,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProductRule {
    /// What is paid in.
    pub currency: Currency,
    /// Where the payee's account is (ISO 3166); `None`: anywhere.
    pub country: Option<String>,
    /// The product's name in the bank's paths.
    pub product: String,
}

impl PaymentProducts {
    /// The product for a payment in this currency to an account in this country. A rule for the country goes before one
    /// for any.
    pub fn product(&self, currency: Currency, country: Option<&str>) -> &str {
        let of = |country: Option<&str>| {
            let mut rules = self.rules.iter();
            rules.find(|rule| rule.currency == currency && rule.country.as_deref() == country)
        };
        country
            .and_then(|country| of(Some(country)))
            .or_else(|| of(None))
            .map_or(self.otherwise.as_str(), |rule| rule.product.as_str())
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let otherwise = reader.text_or("PISP_PRODUCT", "sepa-credit-transfers");
        if !is_product(&otherwise) {
            reader.problem("PISP_PRODUCT", "must be letters, digits and dashes");
        }
        let mut rules: Vec<ProductRule> = Vec::new();
        for entry in reader.list("PISP_PRODUCTS", "") {
            match rule(&entry) {
                Some(new) if rules.iter().any(|rule| is_same_case(rule, &new)) => {
                    reader.problem("PISP_PRODUCTS", "has two products for one currency and country");
                }
                Some(new) => rules.push(new),
                None => reader.problem(
                    "PISP_PRODUCTS",
                    "must be like NOK/NO=norwegian-domestic-credit-transfers",
                ),
            }
        }
        Self { otherwise, rules }
    }
}

fn is_same_case(one: &ProductRule, other: &ProductRule) -> bool {
    (one.currency, &one.country) == (other.currency, &other.country)
}

fn rule(entry: &str) -> Option<ProductRule> {
    let (payments, product) = entry.split_once('=')?;
    let (currency, country) = payments.split_once('/')?;
    let is_country = country.len() == 2 && country.bytes().all(|byte| byte.is_ascii_uppercase());
    (is_product(product) && (is_country || country == "*")).then_some(())?;
    Some(ProductRule {
        currency: currency.parse().ok()?,
        country: is_country.then(|| country.to_owned()),
        product: product.to_owned(),
    })
}

fn is_product(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}
