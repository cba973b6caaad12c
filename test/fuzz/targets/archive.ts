import { armor, generateX25519Identity, identityToRecipient } from 'age-encryption'
import { sealTo } from '../../../src/client/format/envelope.ts'
import { ArchiveError, decodeArchive, encodeArchive } from '../../../src/onion/archive.ts'
import { BackupError, findBackup, kindOfBackup, openBackup, sealBackup } from '../../../src/onion/backup.ts'
import { checkService, CLIENTS, createService, ServiceError, splitClients } from '../../../src/onion/service.ts'
import { attempt, attemptLater, bytesOf, fail, latin1, type Target } from '../target.ts'

const BLOCK = 512
const identity = await generateX25519Identity()
const recipient = await identityToRecipient(identity)

/** Writes the right checksum into the header of each entry. */
function mend(archive: Uint8Array): void {
  for (let at = 0; at + BLOCK <= archive.length;) {
    const head = Buffer.from(archive.buffer, archive.byteOffset + at, BLOCK)
    if (head.every((byte) => byte === 0)) return
    head.write('        ', 148, 'latin1')
    const sum = head.reduce((all, byte) => all + byte, 0)
    head.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
    const size = Number.parseInt(/^ *([0-7]{1,11})/.exec(head.toString('latin1', 124, 136))?.[1] ?? '0', 8)
    at += BLOCK + Math.ceil(size / BLOCK) * BLOCK
  }
}

/**
 * After a NUL the input is a backup, an age file; otherwise an archive whose checksums the target makes right. After 0x01
 * the archive is encrypted, too.
 */
export const target: Target = {
  name: 'archive',
  covers: ['onion/archive.ts', 'onion/service.ts', 'onion/backup.ts'],
  longest: 8_192,
  async seeds() {
    const service = createService()
    const client = new Map([...service, [`${CLIENTS}/bob.auth`, Buffer.from(`descriptor:x25519:${'A'.repeat(52)}\n`)]])
    const backup = await sealBackup(client, { recipients: [recipient] })
    const locked = `age-encryption.org/v1\n-> scrypt ${'A'.repeat(22)} 18\n${'A'.repeat(43)}\n--- ${'A'.repeat(43)}\n`
    return [
      encodeArchive(service),
      encodeArchive(client),
      encodeArchive(new Map([['a b', Buffer.from('x')]])),
      Buffer.concat([Buffer.of(0), backup]),
      Buffer.concat([Buffer.of(1), encodeArchive(client)]),
      `\0${locked}`,
      `\0${armor.encode(backup)}`,
    ]
  },
  async run(input) {
    if (input[0] === 0 || input[0] === 1) {
      let file: Uint8Array = input.subarray(1)
      if (input[0] === 1) {
        const archive = input.slice(1)
        mend(archive)
        file = await sealTo(recipient, archive)
      }
      kindOfBackup(file)
      if (findBackup(Buffer.from(file)) >= file.length) fail('a backup begins behind the end')
      const opened = await attemptLater(
        () => openBackup(file, { identities: [identity] }),
        (error) => error instanceof BackupError || error instanceof ServiceError,
      )
      return 'value' in opened ? 'a backup' : opened.refused
    }
    mend(input)
    const read = attempt(
      () => decodeArchive(input),
      (error) => error instanceof ArchiveError,
    )
    if (!('value' in read)) return 'no archive'
    const files = read.value
    const again = attempt(
      () => decodeArchive(encodeArchive(files)),
      // Names that differ only in a folder of their own are no files that we write.
      (error) => error instanceof TypeError,
    )
    if ('value' in again) {
      for (const [path, bytes] of files)
        if (latin1(again.value.get(path) ?? bytesOf('?')) !== latin1(bytes)) fail(`the file ${JSON.stringify(path)} differs`)
    }
    const parts = splitClients(files)
    const checked = attempt(
      () => checkService(parts.files),
      (error) => error instanceof ServiceError,
    )
    return 'value' in checked ? `a service, ${parts.skipped.length > 0 ? 'some skipped' : 'whole'}` : checked.refused
  },
}
