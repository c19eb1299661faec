/* What torch makes of many operations in one pass, with the derivatives of `layers.py`:
 * convolutions by Winograd's transforms, or of few inputs; a whole instance normalization,
 * rectifier and average pooling; all blocks of such a network; Adam; and whole steps of a training,
 * of networks of images and of multilayer perceptrons.
 *
 * Images are (n, h, w, c), with the channels last, in REAL (float or double). A pair, of values and
 * tangents, is two such arrays, one after the other. Every function writes all of its output, of one
 * image or more; but `adam_steps_adjoint` adds to the gradients of samples and labels.
 */

#include "adam.h"
#include "blocks.h"
#include "few_inputs.h"
#include "norm_pool.h"
#include "steps.h"
#include "winograd.h"
