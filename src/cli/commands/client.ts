/**
 * `asfaleia client`, the former name of `asfaleia invite` and `asfaleia member`: works as before for one version, but
 * no list of commands shows it.
 */
import { readCommandLine } from '../program/arguments.ts'
import { CONTROL_OPTION, findControl, tellTor } from '../service/reload.ts'
import { findService, SERVICE_OPTION } from '../service/folder.ts'
import { addMember, checkMemberName, describeLeft, readMembers, removeMembers, writeKeyFile } from '../service/members.ts'
import { CliError } from '../program/error.ts'
import { EXIT } from '../program/exit.ts'
import type { Io } from '../program/io.ts'
import { formatJson } from '../program/show.ts'
import type { Page } from '../program/page.ts'

export const page = {
  name: 'client',
  shared: { ...SERVICE_OPTION, ...CONTROL_OPTION, json: { about: 'print one JSON object' } },
  text: `
    The former name of \`asfaleia invite\` and \`asfaleia member\`. Chooses who can find the onion service.`,
  verbs: {
    add: {
      summary: 'authorize a client',
      words: ['NAME'],
      options: { out: { value: 'FILE', about: 'write the line to FILE, mode 0600, instead of printing it' } },
      text: `
        Prints a line that contains the private key of the client; this machine stores it nowhere. The client puts it into a file
        NAME.auth_private in the ClientOnionAuthDir of their tor, or gives it to \`asfaleia onion add\`. Hand it over as you would a
        password.`,
      examples: [['authorize Alice and write her line to a file', 'asfaleia client add alice --out alice.auth_private']],
    },
    list: { summary: 'list the authorized clients', examples: [['list the clients', 'asfaleia client list']] },
    remove: {
      summary: 'withdraw the authorization of a client',
      words: ['NAME'],
      options: { open: { about: 'if this was the last client, let everyone find the service again; without it, no one can' } },
      text: 'Takes effect for new connections only: the client keeps connections that are open.',
      examples: [['withdraw the authorization of Alice', 'asfaleia client remove alice']],
    },
  },
  examples: [['authorize a client', 'asfaleia client add alice']],
} as const satisfies Page

export async function run(argv: string[], io: Io): Promise<number> {
  const given = readCommandLine(argv, io, page)
  if (given === undefined) return EXIT.ok
  const { values } = given
  const json = values.json === true
  const folder = findService(values.service, io)
  const control = findControl(values['tor-control'], io, given.hint)
  switch (given.verb) {
    case 'add': {
      const name = checkMemberName(given.words[0])
      const { out } = given.values
      const { address, key, keep, undo } = await addMember(folder, name, undefined, io)
      const line = `${address.slice(0, -'.onion'.length)}:descriptor:x25519:${key}`
      if (out !== undefined) {
        // Without its private key, the client would close a service that was open.
        await writeKeyFile(out, line).catch(async (error: unknown) => {
          await undo()
          throw error
        })
      }
      await keep()
      if (out === undefined) io.stdout.write(json ? `${formatJson({ name, line })}\n` : `${line}\n`)
      await tellTor(control, io)
      return EXIT.ok
    }
    case 'remove': {
      const [name] = given.words
      const open = given.values.open === true
      const gone = (await readMembers(folder, io)).members.filter((member) => member.name === name)
      if (gone.length === 0) throw new CliError('there is no client with this name', { hint: '`asfaleia member list` shows the names' })
      const left = await removeMembers(folder, gone, open, io)
      io.stdout.write(json ? `${formatJson({ name, left, open: left === 0 && open })}\n` : `removed; ${describeLeft(left, open)}\n`)
      await tellTor(control, io)
      return EXIT.ok
    }
    case 'list': {
      const { members, isLocked } = await readMembers(folder, io)
      const open = members.length === 0 && !isLocked
      const names = members.map(({ name }) => name)
      if (json) io.stdout.write(`${formatJson({ clients: names, open })}\n`)
      else io.stdout.write(names.length > 0 ? names.map((each) => `${each}\n`).join('') : `${describeLeft(0, open)}\n`)
      return EXIT.ok
    }
  }
}
