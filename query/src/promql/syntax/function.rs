//! The functions: names and types.

use super::ValueType;

/// A function's signature.
#[derive(Debug, PartialEq)]
pub struct Function {
    /// Which one.
    pub id: FunctionId,
    /// Its name.
    pub name: &'static str,
    /// Types of its arguments.
    pub args: &'static [ValueType],
    /// Fixed (0), this many of the last may be left out or added (above 0), any number (below 0).
    pub variadic: i32,
    /// What it gives.
    pub returns: ValueType,
}

impl Function {
    /// Finds a function by its name.
    pub fn find(name: &str) -> Option<&'static Self> {
        FUNCTIONS.binary_search_by(|f| f.name.cmp(name)).ok().map(|i| &FUNCTIONS[i])
    }

    /// Returns all functions, sorted by name.
    pub fn all() -> &'static [Self] {
        FUNCTIONS
    }

    /// Returns how many arguments it must have, and how many it may have.
    pub fn arity(&self) -> (usize, Option<usize>) {
        let n = self.args.len();
        match self.variadic {
            0 => (n, Some(n)),
            v if v > 0 => (n - 1, Some(n - 1 + v.unsigned_abs() as usize)),
            _ => (n - 1, None),
        }
    }
}

macro_rules! functions {
    ($($name:literal $id:ident($($arg:ident)*) $variadic:literal -> $returns:ident;)*) => {
        /// Which function.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "the variants are the functions' names")]
        pub enum FunctionId { $($id),* }

        static FUNCTIONS: &[Function] = &[$(Function {
            id: FunctionId::$id,
            name: $name,
            args: &[$(ValueType::$arg),*],
            variadic: $variadic,
            returns: ValueType::$returns,
        }),*];
    };
}

// Sorted by name, for the binary search; a test holds it so.
functions! {
    "abs" Abs(Vector) 0 -> Vector;
    "absent" Absent(Vector) 0 -> Vector;
    "absent_over_time" AbsentOverTime(Matrix) 0 -> Vector;
    "acos" Acos(Vector) 0 -> Vector;
    "acosh" Acosh(Vector) 0 -> Vector;
    "asin" Asin(Vector) 0 -> Vector;
    "asinh" Asinh(Vector) 0 -> Vector;
    "atan" Atan(Vector) 0 -> Vector;
    "atanh" Atanh(Vector) 0 -> Vector;
    "avg_over_time" AvgOverTime(Matrix) 0 -> Vector;
    "ceil" Ceil(Vector) 0 -> Vector;
    "changes" Changes(Matrix) 0 -> Vector;
    "clamp" Clamp(Vector Scalar Scalar) 0 -> Vector;
    "clamp_max" ClampMax(Vector Scalar) 0 -> Vector;
    "clamp_min" ClampMin(Vector Scalar) 0 -> Vector;
    "cos" Cos(Vector) 0 -> Vector;
    "cosh" Cosh(Vector) 0 -> Vector;
    "count_over_time" CountOverTime(Matrix) 0 -> Vector;
    "day_of_month" DayOfMonth(Vector) 1 -> Vector;
    "day_of_week" DayOfWeek(Vector) 1 -> Vector;
    "day_of_year" DayOfYear(Vector) 1 -> Vector;
    "days_in_month" DaysInMonth(Vector) 1 -> Vector;
    "deg" Deg(Vector) 0 -> Vector;
    "delta" Delta(Matrix) 0 -> Vector;
    "deriv" Deriv(Matrix) 0 -> Vector;
    "double_exponential_smoothing" DoubleExponentialSmoothing(Matrix Scalar Scalar) 0 -> Vector;
    "exp" Exp(Vector) 0 -> Vector;
    "first_over_time" FirstOverTime(Matrix) 0 -> Vector;
    "floor" Floor(Vector) 0 -> Vector;
    "histogram_avg" HistogramAvg(Vector) 0 -> Vector;
    "histogram_count" HistogramCount(Vector) 0 -> Vector;
    "histogram_fraction" HistogramFraction(Scalar Scalar Vector) 0 -> Vector;
    "histogram_quantile" HistogramQuantile(Scalar Vector) 0 -> Vector;
    "histogram_stddev" HistogramStddev(Vector) 0 -> Vector;
    "histogram_stdvar" HistogramStdvar(Vector) 0 -> Vector;
    "histogram_sum" HistogramSum(Vector) 0 -> Vector;
    "hour" Hour(Vector) 1 -> Vector;
    "idelta" Idelta(Matrix) 0 -> Vector;
    "increase" Increase(Matrix) 0 -> Vector;
    "info" Info(Vector Vector) 1 -> Vector;
    "irate" Irate(Matrix) 0 -> Vector;
    "label_join" LabelJoin(Vector String String String) -1 -> Vector;
    "label_replace" LabelReplace(Vector String String String String) 0 -> Vector;
    "last_over_time" LastOverTime(Matrix) 0 -> Vector;
    "ln" Ln(Vector) 0 -> Vector;
    "log10" Log10(Vector) 0 -> Vector;
    "log2" Log2(Vector) 0 -> Vector;
    "mad_over_time" MadOverTime(Matrix) 0 -> Vector;
    "max_over_time" MaxOverTime(Matrix) 0 -> Vector;
    "min_over_time" MinOverTime(Matrix) 0 -> Vector;
    "minute" Minute(Vector) 1 -> Vector;
    "month" Month(Vector) 1 -> Vector;
    "pi" Pi() 0 -> Scalar;
    "predict_linear" PredictLinear(Matrix Scalar) 0 -> Vector;
    "present_over_time" PresentOverTime(Matrix) 0 -> Vector;
    "quantile_over_time" QuantileOverTime(Scalar Matrix) 0 -> Vector;
    "rad" Rad(Vector) 0 -> Vector;
    "rate" Rate(Matrix) 0 -> Vector;
    "resets" Resets(Matrix) 0 -> Vector;
    "round" Round(Vector Scalar) 1 -> Vector;
    "scalar" Scalar(Vector) 0 -> Scalar;
    "sgn" Sgn(Vector) 0 -> Vector;
    "sin" Sin(Vector) 0 -> Vector;
    "sinh" Sinh(Vector) 0 -> Vector;
    "sort" Sort(Vector) 0 -> Vector;
    "sort_by_label" SortByLabel(Vector String) -1 -> Vector;
    "sort_by_label_desc" SortByLabelDesc(Vector String) -1 -> Vector;
    "sort_desc" SortDesc(Vector) 0 -> Vector;
    "sqrt" Sqrt(Vector) 0 -> Vector;
    "stddev_over_time" StddevOverTime(Matrix) 0 -> Vector;
    "stdvar_over_time" StdvarOverTime(Matrix) 0 -> Vector;
    "sum_over_time" SumOverTime(Matrix) 0 -> Vector;
    "tan" Tan(Vector) 0 -> Vector;
    "tanh" Tanh(Vector) 0 -> Vector;
    "time" Time() 0 -> Scalar;
    "timestamp" Timestamp(Vector) 0 -> Vector;
    "ts_of_first_over_time" TsOfFirstOverTime(Matrix) 0 -> Vector;
    "ts_of_last_over_time" TsOfLastOverTime(Matrix) 0 -> Vector;
    "ts_of_max_over_time" TsOfMaxOverTime(Matrix) 0 -> Vector;
    "ts_of_min_over_time" TsOfMinOverTime(Matrix) 0 -> Vector;
    "vector" VectorOf(Scalar) 0 -> Vector;
    "year" Year(Vector) 1 -> Vector;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_is_found_by_its_name() {
        for f in Function::all() {
            assert_eq!(Function::find(f.name).map(|g| g.id), Some(f.id));
        }
        assert_eq!(Function::find("no_such"), None);
        assert_eq!(Function::find("round").unwrap().arity(), (1, Some(2)));
        assert_eq!(Function::find("label_join").unwrap().arity(), (3, None));
        assert_eq!(Function::find("hour").unwrap().arity(), (0, Some(1)));
    }
}
