// A ZIP archive of small text files, stored without compression.

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let rest = byte;
  for (let bit = 0; bit < 8; bit++) rest = rest & 1 ? (rest >>> 1) ^ 0xedb88320 : rest >>> 1;
  return rest;
});

function checksum(bytes) {
  let rest = 0xffffffff;
  for (const byte of bytes) rest = TABLE[(rest ^ byte) & 255] ^ (rest >>> 8);
  return (rest ^ 0xffffffff) >>> 0;
}

// Return a record: [value, number of bytes] pairs, little-endian.
function record(...fields) {
  const bytes = new Uint8Array(fields.reduce((sum, [, size]) => sum + size, 0));
  let at = 0;
  for (const [value, size] of fields) {
    for (let place = 0; place < size; place++) bytes[at++] = Math.floor(value / 256 ** place) & 255;
  }
  return bytes;
}

// Return the parts of an archive. `files`: name -> text.
export function zipped(files) {
  const [parts, directory] = [[], []];
  let at = 0;
  for (const [name, text] of Object.entries(files)) {
    const [label, body] = [name, text].map((each) => new TextEncoder().encode(each));
    // version 2.0, names in UTF-8, stored, 1 January 1980
    const same = [[20, 2], [0x800, 2], [0, 2], [0, 2], [33, 2], [checksum(body), 4], [body.length, 4], [body.length, 4], [label.length, 2], [0, 2]];
    const head = record([0x04034b50, 4], ...same);
    directory.push(record([0x02014b50, 4], [20, 2], ...same, [0, 2], [0, 2], [0, 2], [0, 4], [at, 4]), label);
    parts.push(head, label, body);
    at += head.length + label.length + body.length;
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  const many = Object.keys(files).length;
  return [...parts, ...directory, record([0x06054b50, 4], [0, 2], [0, 2], [many, 2], [many, 2], [size, 4], [at, 4], [0, 2])];
}
