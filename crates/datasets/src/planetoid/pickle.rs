//! A reader of just the Python pickles that the Planetoid files are: scipy CSR matrices, NumPy arrays, and a `defaultdict`
//! of lists of integers, written by Python 2 with protocol 2.
//!
//! A pickle is a program, and running one in general runs whatever its author wants. This reader knows six names and gives
//! each exactly one meaning; every other name, and every operation that those files do not need, is refused. It holds no
//! reference to anything mutable, nests to a fixed depth, allocates nothing by a claimed count, and counts what its values
//! take: an operation of one byte makes a value of many.

use std::collections::HashMap;

use super::pickle_value::{Array, ElementType, MAX_DEPTH, Name, Value, depth};
use crate::array::shown;
use crate::error::{Error, Result};
use crate::text::{quoted, quoted_bytes};

const FORMAT: &str = "pickle";

/// Bytes of a value by itself.
const VALUE: u64 = size_of::<Value<'_>>() as u64;

/// Reads the one value that the pickle makes, whose parts may take `limit` bytes together.
pub(super) fn parse(bytes: &[u8], limit: u64) -> Result<Value<'_>> {
    Machine { bytes, position: 0, stack: Vec::new(), marks: Vec::new(), memo: HashMap::new(), inner: 0, limit }.run()
}

struct Machine<'a> {
    bytes: &'a [u8],
    position: usize,
    stack: Vec<Value<'a>>,
    marks: Vec<usize>,
    /// Small immutable values only.
    memo: HashMap<u32, Value<'a>>,
    /// Bytes of what lies within the values of the stack, and of the memo.
    inner: u64,
    limit: u64,
}

impl<'a> Machine<'a> {
    fn run(mut self) -> Result<Value<'a>> {
        loop {
            let start = self.position;
            self.check_size()?;
            match self.take(1)?[0] {
                0x80 => {
                    if self.take(1)?[0] != 2 {
                        return self.refuse(start, "a protocol other than 2");
                    }
                }
                b'.' => break,
                b'(' => self.marks.push(self.stack.len()),
                b'N' => self.stack.push(Value::None),
                0x88 => self.stack.push(Value::Bool(true)),
                0x89 => self.stack.push(Value::Bool(false)),
                b'K' => self.integer::<1>(|bytes| bytes[0].into())?,
                b'M' => self.integer::<2>(|bytes| u16::from_le_bytes(bytes).into())?,
                b'J' => self.integer::<4>(|bytes| i32::from_le_bytes(bytes).into())?,
                b'U' => {
                    let length = self.take(1)?[0].into();
                    let text = self.take(length)?;
                    self.stack.push(Value::Bytes(text));
                }
                b'T' => {
                    let length = i32::from_le_bytes(self.array()?);
                    let length = usize::try_from(length).or_else(|_| self.refuse(start, "a negative length"))?;
                    let text = self.take(length)?;
                    self.stack.push(Value::Bytes(text));
                }
                b'c' => self.name()?,
                b')' => self.tuple(start, Vec::new())?,
                code @ 0x85..=0x87 => {
                    let items = self.pop_many(start, usize::from(code - 0x84))?;
                    self.tuple(start, items)?;
                }
                b't' => {
                    let items = self.pop_to_mark(start)?;
                    self.tuple(start, items)?;
                }
                b']' => self.stack.push(Value::List(Vec::new())),
                b'}' => self.stack.push(Value::Dictionary(Vec::new(), 1)),
                b'a' => {
                    let items = self.pop_many(start, 1)?;
                    self.append(start, items)?;
                }
                b'e' => {
                    let items = self.pop_to_mark(start)?;
                    self.append(start, items)?;
                }
                b's' => {
                    let items = self.pop_many(start, 2)?;
                    self.set_items(start, items)?;
                }
                b'u' => {
                    let items = self.pop_to_mark(start)?;
                    self.set_items(start, items)?;
                }
                b'q' => {
                    let key = self.take(1)?[0].into();
                    self.remember(start, key)?;
                }
                b'r' => {
                    let key = u32::from_le_bytes(self.array()?);
                    self.remember(start, key)?;
                }
                b'h' => {
                    let key = self.take(1)?[0].into();
                    self.recall(start, key)?;
                }
                b'j' => {
                    let key = u32::from_le_bytes(self.array()?);
                    self.recall(start, key)?;
                }
                0x81 | b'R' => self.call(start)?,
                b'b' => self.build(start)?,
                code => return self.refuse(start, &format!("operation 0x{code:02x}, which such files never have")),
            }
        }
        let end = self.position;
        match (self.stack.pop(), self.stack.is_empty(), end == self.bytes.len()) {
            (Some(value), true, true) => Ok(value),
            _ => self.refuse(end, "expected exactly one value at the end"),
        }
    }

    fn refuse<T>(&self, at: usize, reason: &str) -> Result<T> {
        Err(Error::invalid_data(FORMAT, format!("byte {at}"), reason))
    }

    /// Refuses to go on when the values take too much.
    fn check_size(&self) -> Result<()> {
        let stack = self.stack.len() as u64 * VALUE + (self.marks.len() * size_of::<usize>()) as u64;
        match stack.saturating_add(self.inner) <= self.limit {
            true => Ok(()),
            false => {
                let needed = format!("the values before byte {} of {}", self.position, self.bytes.len());
                Err(Error::TooLarge { what: FORMAT, needed, limit: self.limit })
            }
        }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let rest = &self.bytes[self.position..];
        match rest.get(..length) {
            Some(taken) => {
                self.position += length;
                Ok(taken)
            }
            None => self.refuse(self.position, &format!("the file ends, expected {length} more bytes")),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn integer<const N: usize>(&mut self, convert: fn([u8; N]) -> i64) -> Result<()> {
        let bytes = self.array()?;
        self.stack.push(Value::Integer(convert(bytes)));
        Ok(())
    }

    /// The line up to, and without, its line feed.
    fn line(&mut self) -> Result<&'a [u8]> {
        let rest = &self.bytes[self.position..];
        match rest.iter().position(|&byte| byte == b'\n') {
            Some(length) => {
                self.position += length + 1;
                Ok(&rest[..length])
            }
            None => self.refuse(self.position, "the file ends within a name"),
        }
    }

    fn name(&mut self) -> Result<()> {
        let start = self.position;
        let name = match (self.line()?, self.line()?) {
            (b"scipy.sparse.csr", b"csr_matrix") => Name::CsrMatrix,
            (b"numpy.core.multiarray", b"_reconstruct") => Name::Reconstruct,
            (b"numpy", b"ndarray") => Name::NdArray,
            (b"numpy", b"dtype") => Name::Dtype,
            (b"collections", b"defaultdict") => Name::DefaultDictionary,
            (b"__builtin__", b"list") => Name::List,
            (module, name) => {
                let shown = quoted(&format!("{}.{}", quoted_bytes(module), quoted_bytes(name)));
                return self.refuse(start, &format!("the name {shown}, which is not allowed"));
            }
        };
        self.stack.push(Value::Name(name));
        Ok(())
    }

    /// Where the topmost mark stands: nothing below it may be taken before it is.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop_many(&mut self, at: usize, count: usize) -> Result<Vec<Value<'a>>> {
        match self.stack.len().checked_sub(count) {
            Some(split) if split >= self.floor() => Ok(self.stack.split_off(split)),
            _ => self.refuse(at, "an operation without its operands"),
        }
    }

    fn pop_to_mark(&mut self, at: usize) -> Result<Vec<Value<'a>>> {
        match self.marks.pop() {
            Some(mark) if mark <= self.stack.len() => Ok(self.stack.split_off(mark)),
            _ => self.refuse(at, "a mark is missing"),
        }
    }

    fn tuple(&mut self, at: usize, items: Vec<Value<'a>>) -> Result<()> {
        let depth = 1 + items.iter().map(depth).max().unwrap_or(0);
        if depth > MAX_DEPTH {
            return self.refuse(at, "too deeply nested");
        }
        self.inner += items.len() as u64 * VALUE;
        self.stack.push(Value::Tuple(items, depth));
        Ok(())
    }

    fn append(&mut self, at: usize, items: Vec<Value<'a>>) -> Result<()> {
        let mut integers = Vec::with_capacity(items.len());
        for item in items {
            match item {
                Value::Integer(integer) => integers.push(integer),
                _ => return self.refuse(at, "a list of items other than integers"),
            }
        }
        self.inner += size_of_val(integers.as_slice()) as u64;
        match self.stack.last_mut() {
            Some(Value::List(list)) => {
                list.append(&mut integers);
                Ok(())
            }
            _ => self.refuse(at, "append to a value that is not a list"),
        }
    }

    fn set_items(&mut self, at: usize, items: Vec<Value<'a>>) -> Result<()> {
        if !items.len().is_multiple_of(2) {
            return self.refuse(at, "a key without a value");
        }
        let deepest = 1 + items.iter().map(depth).max().unwrap_or(0);
        if deepest > MAX_DEPTH {
            return self.refuse(at, "too deeply nested");
        }
        let Some(Value::Dictionary(entries, depth)) = self.stack.last_mut() else {
            return self.refuse(at, "set items of a value that is not a dictionary");
        };
        *depth = (*depth).max(deepest);
        self.inner += items.len() as u64 * VALUE;
        let mut items = items.into_iter();
        while let (Some(key), Some(value)) = (items.next(), items.next()) {
            entries.push((key, value));
        }
        Ok(())
    }

    /// Notes the topmost value. Only small immutable ones are kept: a note of a container would have to follow its changes.
    fn remember(&mut self, at: usize, key: u32) -> Result<()> {
        let note = match self.stack.last() {
            Some(value @ (Value::Name(_) | Value::Bytes(_) | Value::Integer(_) | Value::ElementType(_))) => {
                value.clone()
            }
            Some(_) => {
                self.memo.remove(&key);
                return Ok(());
            }
            None => return self.refuse(at, "nothing to note"),
        };
        if self.memo.insert(key, note).is_none() {
            // The table has up to twice as many places as notes.
            self.inner += 2 * (VALUE + size_of::<u32>() as u64);
        }
        Ok(())
    }

    fn recall(&mut self, at: usize, key: u32) -> Result<()> {
        match self.memo.get(&key) {
            Some(value) => {
                self.stack.push(value.clone());
                Ok(())
            }
            _ => self.refuse(at, "a reference to something that is not a name, a string or a number"),
        }
    }

    fn call(&mut self, at: usize) -> Result<()> {
        let mut operands = self.pop_many(at, 2)?.into_iter();
        let (Some(Value::Name(name)), Some(Value::Tuple(arguments, _))) = (operands.next(), operands.next()) else {
            return self.refuse(at, "a call other than of a name with a tuple");
        };
        let made = match (name, arguments.as_slice()) {
            (Name::CsrMatrix, []) => Value::Matrix(Vec::new()),
            (Name::Reconstruct, [Value::Name(Name::NdArray), Value::Tuple(..), Value::Bytes(_)]) => Value::Array(None),
            (Name::Dtype, [Value::Bytes(code), ..]) => Value::ElementType(match *code {
                b"f4" => ElementType::F32,
                b"f8" => ElementType::F64,
                b"i4" => ElementType::I32,
                b"i8" => ElementType::I64,
                other => return self.refuse(at, &format!("element type {}", quoted_bytes(other))),
            }),
            (Name::DefaultDictionary, [Value::Name(Name::List)]) => Value::Dictionary(Vec::new(), 1),
            _ => return self.refuse(at, "a call with arguments that such files never have"),
        };
        self.stack.push(made);
        Ok(())
    }

    fn build(&mut self, at: usize) -> Result<()> {
        let mut operands = self.pop_many(at, 2)?.into_iter();
        let built = match (operands.next(), operands.next()) {
            (Some(Value::Array(None)), Some(Value::Tuple(state, _))) => {
                Value::Array(Some(Box::new(self.array_of(at, &state)?)))
            }
            (Some(Value::Matrix(attributes)), Some(Value::Dictionary(entries, _))) if attributes.is_empty() => {
                Value::Matrix(entries)
            }
            // The state only repeats the byte order, which decides how the bytes are read.
            (Some(element_type @ Value::ElementType(_)), Some(Value::Tuple(state, _))) => match state.get(1) {
                Some(Value::Bytes(b"<")) => element_type,
                _ => return self.refuse(at, "a byte order other than little endian"),
            },
            _ => return self.refuse(at, "a state for an object that has none"),
        };
        self.stack.push(built);
        Ok(())
    }

    fn array_of(&self, at: usize, state: &[Value<'a>]) -> Result<Array<'a>> {
        let [
            Value::Integer(_),
            Value::Tuple(shape, _),
            Value::ElementType(element_type),
            Value::Bool(order),
            Value::Bytes(bytes),
        ] = state
        else {
            return self.refuse(at, "an array state that such files never have");
        };
        let extent = |value: &Value<'_>| match value {
            Value::Integer(extent) => usize::try_from(*extent).ok(),
            _ => None,
        };
        let Some(shape) = shape.iter().map(extent).collect::<Option<Vec<usize>>>() else {
            return self.refuse(at, "an array's shape does not consist of sizes");
        };
        let size = shape.iter().try_fold(element_type.size(), |size, &extent| size.checked_mul(extent));
        if size != Some(bytes.len()) {
            return self.refuse(at, &format!("an array of shape {} with {} bytes", shown(&shape), bytes.len()));
        }
        Ok(Array { shape, element_type: *element_type, is_fortran_order: *order, bytes })
    }
}
