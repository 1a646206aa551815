//! Rust values as JSON, without losing NaN and infinities.
//!
//! Plain JSON turns a diverged loss (NaN) into `null`, which then cannot be read back as a number. Here a number that is
//! not finite becomes `{"$float": "NaN"}`, and a map whose keys are not text becomes `{"$map": [[key, value], ...]}`.

use ciborium::Value as Exact;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Number, Value, json};

use crate::error::Error;
use report::text::quoted;

const FLOAT: &str = "$float";
const MAP: &str = "$map";

/// Turns a value into JSON that [`from_json`] reads back to the same value.
pub(crate) fn to_json<T: Serialize>(what: &str, value: &T) -> Result<Value, Error> {
    let stored_error = |reason: String| Error::Stored { what: what.to_owned(), reason };
    let exact = Exact::serialized(value).map_err(|error| stored_error(error.to_string()))?;
    encode(exact).map_err(stored_error)
}

/// Reads a value that [`to_json`] wrote.
pub(crate) fn from_json<T: DeserializeOwned>(what: &str, value: Value) -> Result<T, Error> {
    let stored_error = |reason: String| Error::Stored { what: what.to_owned(), reason };
    let exact = decode(value).map_err(stored_error)?;
    // The error may quote a text of any length.
    exact.deserialized().map_err(|error| stored_error(quoted(&error.to_string())))
}

fn encode(exact: Exact) -> Result<Value, String> {
    Ok(match exact {
        Exact::Null => Value::Null,
        Exact::Bool(value) => Value::Bool(value),
        Exact::Text(text) => Value::String(text),
        Exact::Integer(integer) => {
            let integer = i128::from(integer);
            let number = u64::try_from(integer).map(Number::from).or_else(|_| i64::try_from(integer).map(Number::from));
            Value::Number(number.map_err(|_| format!("the integer {integer} has more than 64 bits"))?)
        }
        Exact::Float(float) => match Number::from_f64(float) {
            Some(number) => Value::Number(number),
            None => json!({ FLOAT: float.to_string() }),
        },
        Exact::Bytes(bytes) => Value::Array(bytes.into_iter().map(Value::from).collect()),
        Exact::Array(items) => Value::Array(items.into_iter().map(encode).collect::<Result<_, _>>()?),
        Exact::Map(entries) if entries.iter().all(|(key, _)| key.is_text()) => {
            // Sorted, so that equal values print alike even where serde_json keeps the order of insertion.
            let mut fields: Vec<_> =
                entries.into_iter().map(|(key, value)| (key.into_text().unwrap_or_default(), value)).collect();
            fields.sort_by(|(first, _), (second, _)| first.cmp(second));
            let fields = fields.into_iter().map(|(key, value)| Ok((key, encode(value)?)));
            Value::Object(fields.collect::<Result<Map<_, _>, String>>()?)
        }
        Exact::Map(entries) => {
            let pairs = entries.into_iter().map(|(key, value)| Ok(json!([encode(key)?, encode(value)?])));
            let mut pairs = pairs.collect::<Result<Vec<Value>, String>>()?;
            pairs.sort_by_cached_key(Value::to_string);
            json!({ MAP: pairs })
        }
        other => return Err(format!("{} has no form in JSON", quoted(&format!("{other:?}")))),
    })
}

fn decode(value: Value) -> Result<Exact, String> {
    Ok(match value {
        Value::Null => Exact::Null,
        Value::Bool(value) => Exact::Bool(value),
        Value::String(text) => Exact::Text(text),
        Value::Number(number) => decode_number(&number)?,
        Value::Array(items) => Exact::Array(items.into_iter().map(decode).collect::<Result<_, _>>()?),
        Value::Object(map) => decode_map(map)?,
    })
}

fn decode_number(number: &Number) -> Result<Exact, String> {
    if let Some(integer) = number.as_u64() {
        return Ok(Exact::Integer(integer.into()));
    }
    if let Some(integer) = number.as_i64() {
        return Ok(Exact::Integer(integer.into()));
    }
    number.as_f64().map(Exact::Float).ok_or_else(|| format!("{} is no number of 64 bits", quoted(&number.to_string())))
}

fn decode_map(map: Map<String, Value>) -> Result<Exact, String> {
    if map.len() == 1 {
        match (map.get(FLOAT), map.get(MAP)) {
            (Some(Value::String(text)), _) => {
                return text.parse().map(Exact::Float).map_err(|_| format!("`{}` is not a number", quoted(text)));
            }
            (_, Some(Value::Array(pairs))) => {
                return pairs.iter().map(decode_pair).collect::<Result<_, _>>().map(Exact::Map);
            }
            _ => {}
        }
    }
    let entries = map.into_iter().map(|(key, value)| Ok((Exact::Text(key), decode(value)?)));
    Ok(Exact::Map(entries.collect::<Result<_, String>>()?))
}

fn decode_pair(pair: &Value) -> Result<(Exact, Exact), String> {
    match pair.as_array().map(Vec::as_slice) {
        Some([key, value]) => Ok((decode(key.clone())?, decode(value.clone())?)),
        _ => Err(format!("{} is not a pair of key and value", quoted(&pair.to_string()))),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    fn round_trip<T: Serialize + DeserializeOwned>(value: &T) -> T {
        let text = to_json("value", value).unwrap().to_string();
        from_json("value", serde_json::from_str(&text).unwrap()).unwrap()
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Method {
        Plain,
        Scaled(f32),
        Pooled { ratio: f64, layers: Vec<usize> },
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Outcome {
        method: Vec<Method>,
        by_class: BTreeMap<usize, f64>,
        pairs: BTreeMap<(u8, u8), Option<i64>>,
        name: String,
        nothing: (),
        shape: (usize, u64),
    }

    #[test]
    fn nested_values_come_back_equal() {
        let outcome = Outcome {
            method: vec![Method::Plain, Method::Scaled(0.1), Method::Pooled { ratio: 1.0, layers: vec![0, 3] }],
            by_class: [(0, 0.5), (7, f64::NEG_INFINITY)].into(),
            pairs: [((1, 2), None), ((3, 4), Some(-5))].into(),
            name: "\"</script>\u{0}".into(),
            nothing: (),
            shape: (0, u64::MAX),
        };
        assert_eq!(round_trip(&outcome), outcome);
    }

    #[test]
    fn a_number_that_is_not_finite_stays_apart_from_none() {
        assert!(round_trip(&f64::NAN).is_nan());
        assert!(round_trip(&f32::NAN).is_nan());
        assert_eq!(round_trip(&Some(f64::INFINITY)), Some(f64::INFINITY));
        assert_eq!(round_trip(&None::<f64>), None);
        assert!(round_trip(&Some(f64::NAN)).unwrap().is_nan());
    }

    proptest! {
        #[test]
        fn floats_keep_their_bits(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            let back = round_trip(&value);
            prop_assert!(back.to_bits() == bits || (back.is_nan() && value.is_nan()));
        }

        #[test]
        fn single_precision_keeps_its_bits(bits in any::<u32>()) {
            let value = f32::from_bits(bits);
            let back = round_trip(&value);
            prop_assert!(back.to_bits() == bits || (back.is_nan() && value.is_nan()));
        }

        #[test]
        fn integers_come_back_equal(signed in any::<i64>(), unsigned in any::<u64>()) {
            prop_assert_eq!(round_trip(&(signed, unsigned)), (signed, unsigned));
        }
    }
}
