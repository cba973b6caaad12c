/** The web page of this version, which the build makes. */
import { fileURLToPath } from 'node:url'

/** The relative path is the same from src/cli/relay/ and from the folders of a bundle. */
export const PAGE_FILE = fileURLToPath(new URL('../../../dist/page/asfaleia.html', import.meta.url))
