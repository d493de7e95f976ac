/** The chapters in the order of the page. */
import { aligned } from "./aligned.js";
import { autoencoder } from "./autoencoder.js";
import { connections } from "./connections.js";
import { counts } from "./counts.js";
import { maps } from "./maps.js";
import { network } from "./network.js";
import { shift } from "./shift.js";
import { stencil } from "./stencil.js";
import { training } from "./training.js";

/** @type {import("../app/shell.js").Chapter[]} */
export const CHAPTERS = [stencil, connections, counts, shift, maps, training, network, autoencoder, aligned];
