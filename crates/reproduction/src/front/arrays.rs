use super::files::read;
use candle_core::{Device, Tensor};
use datasets::npz::Archive;
use datasets::table::{TableConfig, parse_numeric, parse_text};
use experiment::{BoxError, Result};
use std::path::Path;

fn fail(path: &Path, reason: impl std::fmt::Display) -> BoxError {
    format!("{}: {reason}", path.display()).into()
}

/// An array of numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Numbers {
    /// The extent of each dimension.
    pub shape: Vec<usize>,
    /// Row by row.
    pub values: Vec<f64>,
    /// Names of the columns, where a table had some.
    pub columns: Option<Vec<String>>,
}

impl Numbers {
    fn of(array: &datasets::array::Array) -> Self {
        Self { shape: array.shape.clone(), values: array.values.to_f64(), columns: None }
    }

    /// Rows and columns of an array of two dimensions; one of one dimension is a column.
    ///
    /// # Errors
    ///
    /// For more dimensions, or none; `path` is named.
    pub fn matrix(&self, path: &Path) -> Result<(usize, usize)> {
        match self.shape[..] {
            [rows] => Ok((rows, 1)),
            [rows, columns] => Ok((rows, columns)),
            _ => Err(fail(path, format_args!("the array has shape {:?}, expected [rows, columns]", self.shape))),
        }
    }
}

/// An array from a file, whose kind is told by its first bytes: `.npy`; `.npz` with one array; else a table of numbers, in which a first row with anything but numbers is a header.
///
/// # Errors
///
/// When the file is none of them, or holds several arrays; names the path.
pub fn array(path: &Path) -> Result<Numbers> {
    of(path, None)
}

/// The array of that name where the file is an `.npz` (or the only one, if NumPy had to name it); else as [`array()`].
///
/// # Errors
///
/// As [`array()`], and when there is no such array.
pub fn named_array(path: &Path, name: &str) -> Result<Numbers> {
    of(path, Some(name))
}

fn of(path: &Path, name: Option<&str>) -> Result<Numbers> {
    let bytes = read(path)?;
    if bytes.starts_with(b"\x93NUMPY") {
        return Ok(Numbers::of(&datasets::npy::parse(&bytes).map_err(|error| fail(path, error))?));
    }
    if bytes.starts_with(b"PK") {
        let archive = Archive::parse(&bytes).map_err(|error| fail(path, error))?;
        let names: Vec<&str> = archive.names().collect();
        let name = match (name, &names[..]) {
            (Some(name), _) if names.contains(&name) => name,
            (None, [name]) => name,
            // what NumPy calls an array that was given no name
            (Some(_), [name @ "arr_0"]) => name,
            (Some(name), _) => {
                return Err(fail(path, format_args!("no array `{name}`, there are: {}", names.join(", "))));
            }
            (None, _) => {
                return Err(fail(path, format_args!("expected one array, there are: {}", names.join(", "))));
            }
        };
        return Ok(Numbers::of(&archive.array(name).map_err(|error| fail(path, error))?));
    }
    table(&bytes).map_err(|error| fail(path, error))
}

fn table(bytes: &[u8]) -> std::result::Result<Numbers, datasets::Error> {
    let text = parse_text(bytes, &TableConfig { has_header: false, ..TableConfig::default() })?;
    let is_number = |cell: &String| cell.trim().parse::<f64>().is_ok();
    let has_header = text.rows.first().is_some_and(|row| !row.iter().all(is_number));
    let table = parse_numeric(bytes, &TableConfig { has_header, ..TableConfig::default() })?;
    let shape = vec![table.num_rows, table.columns.len()];
    Ok(Numbers { shape, values: table.values, columns: has_header.then_some(table.columns) })
}

/// Images `[n, channels, height, width]`, or `[n, height, width]` of one channel, as f32; from the array `name` of an `.npz`, or an `.npy`.
///
/// # Errors
///
/// For other shapes, no images, or values that are not finite; names the path.
pub fn images(path: &Path, name: &str) -> Result<Tensor> {
    let Numbers { shape, values, .. } = named_array(path, name)?;
    let shape = match shape[..] {
        [n, channels, height, width] => [n, channels, height, width],
        [n, height, width] => [n, 1, height, width],
        _ => {
            let expected = "[images, channels, height, width] or [images, height, width]";
            return Err(fail(path, format_args!("has shape {shape:?}, expected {expected}")));
        }
    };
    if values.is_empty() {
        return Err(fail(path, format_args!("has shape {shape:?}: no images")));
    }
    if let Some(at) = values.iter().position(|value| !value.is_finite()) {
        let image = at / (shape[1] * shape[2] * shape[3]);
        return Err(fail(path, format_args!("image {image} has {}, expected finite numbers", values[at])));
    }
    let values: Vec<f32> = values.into_iter().map(|value| value as f32).collect();
    Ok(Tensor::from_vec(values, &shape, &Device::Cpu)?)
}

/// Class numbers from 0, one for each sample; from the array `name` of an `.npz`, an `.npy`, or a table of one column.
///
/// # Errors
///
/// For another shape or a number that is no class; names the path.
pub fn classes(path: &Path, name: &str) -> Result<Vec<u32>> {
    let numbers = named_array(path, name)?;
    let ([_] | [_, 1]) = numbers.shape[..] else {
        return Err(fail(path, format_args!("has shape {:?}, expected a class for each sample", numbers.shape)));
    };
    let class = |(at, &value): (usize, &f64)| {
        let is_class = value >= 0. && value <= f64::from(u16::MAX) && value.fract() == 0.;
        match is_class {
            true => Ok(value as u32),
            false => Err(fail(path, format_args!("label {at} is {value}, expected a class from 0"))),
        }
    };
    numbers.values.iter().enumerate().map(class).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_with_and_without_a_header() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a.csv");
        std::fs::write(&path, "x,y\n1,2\n3,4\n").unwrap();
        let found = array(&path).unwrap();
        assert_eq!((found.shape, found.values), (vec![2, 2], vec![1., 2., 3., 4.]));
        assert_eq!(found.columns.unwrap(), ["x", "y"]);
        std::fs::write(&path, "1\n0\n2\n").unwrap();
        assert_eq!(classes(&path, "y").unwrap(), [1, 0, 2]);
        for wrong in ["1\n0.5\n", "-1\n", "a\nb\n", "", "1,2\n3\n"] {
            std::fs::write(&path, wrong).unwrap();
            let error = classes(&path, "y").unwrap_err().to_string();
            assert!(error.contains("a.csv"), "{wrong:?}: {error}");
        }
        std::fs::write(&path, "1,2\n3,4\n").unwrap();
        assert!(images(&path, "x").is_err() && array(place.path()).is_err());
    }
}
