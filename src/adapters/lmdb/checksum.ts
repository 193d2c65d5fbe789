/** CRC-16/IBM-3740 (polynomial 0x1021, from 0xFFFF on): finds every error of up to three bits in a few kilobytes. */
const POLYNOMIAL = 0x1021;
const START = 0xff_ff;
const TOP = 0x80_00;

const TABLE = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 8;
  for (let bit = 0; bit < 8; bit++) crc = crc & TOP ? (crc << 1) ^ POLYNOMIAL : crc << 1;
  return crc;
});

/** Stands for "none": what was written before there were checksums. */
export const NO_CHECKSUM = 0;

/** The checksum of some bytes, one part after the other; never {@link NO_CHECKSUM}. */
export function checksum(...parts: readonly Uint8Array[]): number {
  let crc = START;
  for (const part of parts) {
    for (let at = 0; at < part.length; at++) {
      crc = ((crc << 8) & 0xff_ff) ^ (TABLE[(crc >> 8) ^ (part[at] as number)] as number);
    }
  }
  return crc === NO_CHECKSUM ? START : crc;
}
