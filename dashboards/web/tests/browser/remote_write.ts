// Just enough of remote write to fill a server: protobuf by hand, snappy without compression.

export interface Written {
  readonly labels: Readonly<Record<string, string>>;
  readonly samples: readonly (readonly [tMs: number, value: number])[];
}

function varint(value: number | bigint): number[] {
  const bytes: number[] = [];
  let rest = BigInt(value);
  while (rest > 127n) {
    bytes.push(Number(rest & 127n) | 128);
    rest >>= 7n;
  }
  bytes.push(Number(rest));
  return bytes;
}

function field(number: number, content: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from([...varint((number << 3) | 2), ...varint(content.length)]), content]);
}

function sample([t, value]: readonly [number, number]): Uint8Array {
  const number = Buffer.alloc(9);
  number[0] = (1 << 3) | 1;
  number.writeDoubleLE(value, 1);
  return Buffer.concat([number, Buffer.from([2 << 3, ...varint(t)])]);
}

/** A `WriteRequest` in a snappy block of literals. */
export function writeRequest(series: readonly Written[]): Uint8Array {
  const text = (value: string) => Buffer.from(value, "utf8");
  const body = Buffer.concat(
    series.map(({ labels, samples }) => {
      const sorted = Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1));
      const pairs = sorted.map(([name, value]) =>
        field(1, Buffer.concat([field(1, text(name)), field(2, text(value))])),
      );
      return field(1, Buffer.concat([...pairs, ...samples.map((one) => field(2, sample(one)))]));
    }),
  );
  const parts: Uint8Array[] = [Buffer.from(varint(body.length))];
  for (let at = 0; at < body.length; at += 65_536) {
    const chunk = body.subarray(at, at + 65_536);
    const length = Buffer.alloc(3);
    length[0] = 61 << 2;
    length.writeUInt16LE(chunk.length - 1, 1);
    parts.push(length, chunk);
  }
  return Buffer.concat(parts);
}
