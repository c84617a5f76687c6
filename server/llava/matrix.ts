/** Row-major matrix [rows, columns]. */
export interface Matrix {
  readonly data: Float32Array;
  readonly rows: number;
  readonly columns: number;
}

/** Some rows, copied. */
export function gatherRows({ data, columns }: Matrix, rows: readonly number[]): Matrix {
  const gathered = new Float32Array(rows.length * columns);
  rows.forEach((row, target) =>
    gathered.set(data.subarray(row * columns, (row + 1) * columns), target * columns),
  );
  return { data: gathered, rows: rows.length, columns };
}
