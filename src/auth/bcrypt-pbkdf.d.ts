/** The part of bcrypt-pbkdf 1.0.2 that container.ts uses; the package has no types. */
declare module 'bcrypt-pbkdf' {
  /**
   * Computes the core of bcrypt_pbkdf: 64 rounds of Blowfish's expensive key schedule.
   *
   * @param out receives 32 bytes
   */
  export function hash(password: Uint8Array, salt: Uint8Array, out: Uint8Array): void
}
