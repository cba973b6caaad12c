/**
 * Follows the file that holds the onion service's name. The file may appear late. A tor whose keys were lost comes back
 * under another name. A relay that moves to another address has the address that it leaves on a second line, and
 * `asfaleia start` writes `localhost` while Tor has no network.
 */
import { readFileSync } from 'node:fs'
import { isOnionName } from '../config/value.ts'

/** tor writes its `hostname` file moments after its start. One look at the file takes about 20 microseconds. */
const LOOK_MS = 500

/** The first line is the relay's name; every further line is an onion address that the relay is leaving. */
export interface NameFile {
  readonly name: string
  readonly left: readonly string[]
}

/**
 * Reads the file now and every half second, and reports each sound content once, with the name it had before.
 * @returns a function that stops it
 */
export function followNameFile(path: string, onName: (file: NameFile, former: string | undefined) => void): () => void {
  let known: string | undefined
  let text: string | undefined
  const look = (): void => {
    const now = readText(path)
    if (now === undefined || now === text) return
    text = now
    const file = parseNameFile(now)
    if (file === undefined) return
    onName(file, known)
    known = file.name
  }
  const timer = setInterval(look, LOOK_MS)
  timer.unref()
  look()
  return () => clearInterval(timer)
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1').trim()
  } catch {
    return undefined
  }
}

function parseNameFile(text: string): NameFile | undefined {
  const [name = '', ...left] = text.split('\n')
  const isSound = (isOnionName(name) || name === 'localhost') && left.every((each) => isOnionName(each) && each !== name)
  return isSound ? { name, left } : undefined
}
